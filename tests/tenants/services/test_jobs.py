from datetime import timedelta

import pytest

from common.clock import real_clock
from tenants.models import Job
from tenants.services.jobs import (
    MAX_ATTEMPTS,
    LeaseLostError,
    actor_of,
    claim_job,
    create_job,
    fail_job,
    finish_job,
    renew_lease,
)
from tests.factories import ACTOR, make_workspace
from tests.parallel import at_once
from tests.trail import actions

pytestmark = pytest.mark.django_db


def make_job(tenant=None, kind="periods.close"):
    return create_job(tenant=tenant or make_workspace(), actor=ACTOR, kind=kind, input={"before": "2026-11-01"})


def test_job__claimed_and_finished__its_life_is_written_down():
    job = make_job()
    assert (job.status, actor_of(job)) == ("pending", ACTOR)
    claimed = claim_job(kinds=["periods.close"])
    assert (claimed, claimed.status, claimed.input) == (job, "running", {"before": "2026-11-01"})
    assert claim_job() is None
    renew_lease(job=claimed, progress={"closed": 3})
    done = finish_job(job=claimed, result={"closed": 5})
    assert (done.status, done.result, done.progress) == ("succeeded", {"closed": 5}, {"attempts": 1, "closed": 3})
    assert done.finished_at is not None
    assert claim_job(job_id=job.id) is None
    assert actions(job.tenant, "job") == ["job.created"]


def test_claim_job__oldest_of_its_kind_first():
    tenant = make_workspace()
    first, other, last = make_job(tenant), make_job(tenant, "usage.import"), make_job(tenant)
    assert [claim_job(kinds=["periods.close"]), claim_job(kinds=["periods.close"])] == [first, last]
    assert claim_job(kinds=["periods.close"]) is None
    assert claim_job(job_id=other.id) == other


def test_claim_job__worker_died__another_takes_over_and_the_first_may_write_nothing():
    make_job()
    dead = claim_job(lease=timedelta(seconds=-1))
    heir = claim_job()
    assert heir == dead
    assert heir.started_at == dead.started_at
    for late in (lambda: finish_job(job=dead), lambda: fail_job(job=dead, error={}), lambda: renew_lease(job=dead)):
        with pytest.raises(LeaseLostError):
            late()
    assert finish_job(job=heir).status == "succeeded"


def test_claim_job__lease_at_its_border__free_at_its_very_end():
    job = make_job()
    claim_job()
    Job.objects.filter(pk=job.pk).update(lease_until=real_clock().now() + timedelta(minutes=1))
    assert claim_job() is None
    Job.objects.filter(pk=job.pk).update(lease_until=real_clock().now())
    assert claim_job() == job


def test_claim_job__workers_die_again_and_again__failed():
    job = make_job()
    for _ in range(MAX_ATTEMPTS):
        assert claim_job(lease=timedelta(seconds=-1)) == job
    assert claim_job() is None
    job.refresh_from_db()
    assert (job.status, job.error["code"]) == ("failed", "worker_died")


def test_fail_job__says_why():
    make_job()
    failed = fail_job(job=claim_job(), error={"code": "bad_line", "detail": "Line 3 is no JSON."})
    assert (failed.status, failed.error) == ("failed", {"code": "bad_line", "detail": "Line 3 is no JSON."})


@pytest.mark.django_db(transaction=True)
def test_claim_job__eight_workers_five_jobs__each_goes_to_one():
    tenant = make_workspace()
    jobs = {make_job(tenant).id for _ in range(5)}
    claimed = [job for job in at_once([claim_job] * 8) if job is not None]
    assert len(claimed) == 5
    assert {job.id for job in claimed} == jobs
