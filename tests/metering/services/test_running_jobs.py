from datetime import timedelta

import pytest
from django.utils.timezone import now

from metering.models import Balance, OverageRecord
from metering.services.running_jobs import run_job
from tenants.domain.actors import worker
from tenants.domain.enums import JobStatus
from tenants.models import Job
from tenants.services.jobs import claim_job, create_job
from tests.metering.ledger_rows import NOVEMBER, OCTOBER, Workspace

pytestmark = pytest.mark.django_db(transaction=True)


def ask(workspace: Workspace, kind: str = "periods.close", **fields: str) -> Job:
    return create_job(tenant=workspace.tenant, actor=worker("test"), kind=kind, input=fields)


def test_run_job__periods_close__ended_periods_of_that_tenant_are_final() -> None:
    workspace, other = Workspace.make("mine"), Workspace.make("other")
    for each in (workspace, other):
        each.price("1")
        each.use("3", each.balance(each.quota("0"), month=OCTOBER), at=OCTOBER)
    job = ask(workspace, before=NOVEMBER.isoformat())

    assert run_job(job_id=job.id) is True

    job.refresh_from_db()
    assert (job.status, job.result) == (JobStatus.SUCCEEDED, {"closed": 1, "finalized": 1, "refused": 0})
    assert job.progress["closed"] == 1
    assert OverageRecord.objects.get().tenant == workspace.tenant
    assert run_job(job_id=job.id) is False


def test_run_job__without_a_time__closes_what_has_ended_by_now() -> None:
    workspace = Workspace.make()
    workspace.balance(workspace.quota(), month=OCTOBER)
    ask(workspace)

    assert run_job() is True
    assert run_job() is False
    assert Balance.objects.get().closed_at is not None


def test_run_job__worker_was_killed__another_takes_over_after_the_lease() -> None:
    workspace = Workspace.make()
    job = ask(workspace, before=NOVEMBER.isoformat())
    assert claim_job(job_id=job.id) is not None
    assert run_job() is False

    Job.objects.update(lease_until=now() - timedelta(seconds=1))
    assert run_job() is True
    assert Job.objects.get().status == JobStatus.SUCCEEDED


def test_run_job__kind_of_another_app__waits_for_its_worker() -> None:
    workspace = Workspace.make()
    ask(workspace, kind="events.replay")

    assert run_job() is False
    assert Job.objects.get().status == JobStatus.PENDING
