"""A month is closed by the workers of a real stack while each kind of its processes is killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError

from metering.models import OverageRecord
from metering.services.running_jobs import CLOSE_PERIODS
from tenants.domain.enums import JobStatus
from tenants.models import Job, OutboxEvent
from tenants.services.jobs import create_job
from tests.factories import ACTOR
from tests.metering.ledger_rows import NOVEMBER, OCTOBER, Workspace
from tests.stack_fixtures import LiveStack

pytestmark = pytest.mark.stack

WORKSPACES = 8
WITHIN = 180.0


def wait_until(holds: Callable[[], bool]) -> None:
    """Ask again and again; a store that is away for a moment is no answer."""
    end = time.monotonic() + WITHIN
    while time.monotonic() < end:
        try:
            if holds():
                return
        except DatabaseError:
            pass
        time.sleep(0.05)
    pytest.fail("it did not come to that in time", pytrace=False)


@pytest.mark.parametrize("kind", ["worker", "postgres", "valkey", "web-process", "beat"])
def test_month_end__process_killed_meanwhile__one_right_set_of_records(hurt_stack: LiveStack, kind: str) -> None:
    slugs = [f"{kind}-{number}" for number in range(WORKSPACES)]
    with hurt_stack.orm():
        jobs = []
        for slug in slugs:
            workspace = Workspace.make(slug)
            workspace.price("0.5")
            balance = workspace.balance(workspace.quota("1"), month=OCTOBER)
            for day in range(3):
                workspace.use("1", balance, at=OCTOBER + timedelta(days=day))
            before = {"before": NOVEMBER.isoformat()}
            jobs.append(create_job(tenant=workspace.tenant, actor=ACTOR, kind=CLOSE_PERIODS, input=before).pk)
        bills = OverageRecord.objects.filter(tenant__slug__in=slugs, status="finalized")
        wait_until(bills.exists)
    gone = hurt_stack.kill(kind)
    hurt_stack.wait_until_ready(name=kind, other_than=gone)

    with hurt_stack.orm():
        done = Job.objects.filter(pk__in=jobs, status=JobStatus.SUCCEEDED)
        wait_until(lambda: done.count() == WORKSPACES)

        assert sorted(bills.values_list("tenant__slug", "used", "quantity", "amount")) == sorted(
            (slug, Decimal(3), Decimal(2), Decimal(1)) for slug in slugs
        )
        told = OutboxEvent.objects.filter(tenant__slug__in=slugs, type="overage.finalized")
        assert sorted(told.values_list("tenant__slug", "data__amount")) == [(slug, "1.00") for slug in sorted(slugs)]
        assert not OverageRecord.objects.filter(tenant__slug__in=slugs, status="open").exists()
    assert hurt_stack.manage("verify_ledger", "--jobs", "2").stdout.startswith("no difference: ")
