"""Closing a month, killed with SIGKILL at each of its steps: whoever comes next leaves one right set of records."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from common.clock import FixedClock
from metering.domain.enums import BucketSize, OverageStatus, Scope
from metering.models import Balance, OverageRecord, UsageRollup
from metering.services.closing import close_periods
from metering.services.overage import accrue_overage
from metering.services.rollups import roll_up_usage
from metering.services.running_jobs import CLOSE_PERIODS, run_job
from metering.services.verification import verify_ledger
from tenants.domain.enums import JobStatus
from tenants.models import Job, OutboxEvent
from tenants.services.jobs import create_job
from tests.factories import ACTOR
from tests.faults.traps import die_at
from tests.metering.ledger_rows import DECEMBER, NOVEMBER, Workspace

pytestmark = pytest.mark.django_db(transaction=True)

AFTER_THE_END = DECEMBER + timedelta(hours=1)
WORKSPACES = 3

#: Where the process ends: module, function, and whether before it is called, after it, or at the commit that follows.
STEPS = {
    "chunk begun": ("closing", "_close", "before"),
    "balances locked": ("closing", "lock_closing", "after"),
    "rated": ("closing", "rate_excesses", "after"),
    "bills written": ("closing", "write_records", "after"),
    "bills announced": ("closing", "tell_finalized", "after"),
    "before the commit": ("closing", "tell_finalized", "before commit"),
    "after the commit": ("closing", "tell_finalized", "after commit"),
    "between two chunks": ("closing", "_close", "after"),
    "overage rated": ("overage", "rate_excesses", "after"),
    "overage written": ("overage", "write_records", "after"),
    "overage committed": ("overage", "_accrue", "after"),
    "overage's cursor moved": ("overage", "move_cursor", "after"),
    "roll-up's cursor locked": ("rollups", "lock_cursor", "after"),
    "events added up": ("rollups", "_add", "after"),
    "roll-up's cursor moved": ("rollups", "move_cursor", "before commit"),
    "roll-up committed": ("rollups", "move_cursor", "after commit"),
    "job claimed": ("running_jobs", "claim_job", "after"),
    "job's lease renewed": ("running_jobs", "renew_lease", "after"),
    "job's work done": ("running_jobs", "_close_periods", "after"),
    "job finished": ("running_jobs", "finish_job", "after"),
}

WORK = """
from datetime import datetime
from uuid import UUID

from common.clock import FixedClock
from metering.services import closing, overage, rollups, running_jobs

now = datetime.fromisoformat("{now}")
running_jobs._WORK = {{**running_jobs._WORK, "periods.close": running_jobs._close_periods}}
closing.CHUNK = 1
closing.real_clock = lambda: FixedClock(now)
rollups.roll_up_usage(chunk=2)
overage.accrue_overage(everything=True)
running_jobs.run_job(job_id=UUID("{job}"))
closing.close_periods(now=now)
"""


def month_that_ends() -> Job:
    """Three vendors' months with an overage each, of which nothing is rolled up, and a job that closes the first's."""
    workspaces = [Workspace.make(f"vendor-{number}") for number in range(WORKSPACES)]
    for workspace in workspaces:
        workspace.price("1")
        counted = [
            workspace.balance(workspace.quota("0")),
            workspace.balance(workspace.quota(scope=Scope.CUSTOMER)),
        ]
        for number in range(2):
            workspace.use("1", *counted, at=NOVEMBER + timedelta(days=number))
    before = {"before": DECEMBER.isoformat()}
    return create_job(tenant=workspaces[0].tenant, actor=ACTOR, kind=CLOSE_PERIODS, input=before)


def records() -> list[Any]:
    """All that a month's end leaves behind, without the ids and times of this one."""
    return [
        sorted(
            OverageRecord.objects.values_list("tenant__slug", "status", "used", "quantity", "amount", "period_start")
        ),
        sorted(OutboxEvent.objects.filter(type="overage.finalized").values_list("tenant__slug", "data__amount")),
        sorted(
            (slug, scope, used, closed_at is None)
            for slug, scope, used, closed_at in Balance.objects.values_list(
                "tenant__slug", "scope", "used", "closed_at"
            )
        ),
        sorted(UsageRollup.objects.values_list("size", "bucket_start", "total", "events")),
    ]


@pytest.mark.parametrize("step", STEPS)
def test_month_end__worker_killed_at_each_step__one_right_set_of_records(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = month_that_ends()
    # Real time has not got to the month's end yet.
    monkeypatch.setattr("metering.services.closing.real_clock", lambda: FixedClock(AFTER_THE_END))

    # A worker of its own closes the month and dies at this step.
    die_at(*STEPS[step], WORK.format(now=AFTER_THE_END.isoformat(), job=job.id))
    Job.objects.filter(status=JobStatus.RUNNING).update(lease_until=timezone.now() - timedelta(seconds=1))
    for _ in range(2):
        run_job()
        roll_up_usage()
        close_periods(now=AFTER_THE_END)
        accrue_overage(everything=True)

    slugs = [f"vendor-{number}" for number in range(WORKSPACES)]
    assert records() == [
        [(slug, OverageStatus.FINALIZED, Decimal(2), Decimal(2), Decimal(2), NOVEMBER) for slug in slugs],
        [(slug, "2.00") for slug in slugs],
        sorted((slug, scope, Decimal(2), False) for slug in slugs for scope in (Scope.CUSTOMER, Scope.LICENSE)),
        sorted(
            (size, NOVEMBER + timedelta(days=day), Decimal(1), 1)
            for size in BucketSize
            for day in range(2)
            for _ in slugs
        ),
    ]
    assert Job.objects.get(pk=job.pk).status == JobStatus.SUCCEEDED
    assert verify_ledger().differences == ()
