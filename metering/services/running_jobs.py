"""Jobs of metering: longer work that a vendor asked for, done by whichever worker takes it first."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from metering.services.clock_moves import Happened, go_on_to
from metering.services.closing import Closed, close_periods
from metering.services.import_jobs import IMPORT_USAGE, discard_upload, import_upload
from metering.services.statements import issue_due_statements
from tenants.models import Job
from tenants.services.each_workspace import EachWorkspace
from tenants.services.jobs import JobFailedError, LeaseLostError, claim_job, fail_job, finish_job, renew_lease

log = structlog.get_logger(__name__)

CLOSE_PERIODS: Final = "periods.close"
MOVE_CLOCK: Final = "test_clock.move"
#: Renewed after each chunk, so a job whose worker was killed is taken over when this has passed (a minute by default).
_LEASE: Final[timedelta] = settings.PERMETER_JOB_LEASE


def run_job(*, job_id: UUID | None = None) -> bool:
    """Do this job, or the oldest one that waits or whose worker died; False if there is nothing to do.

    What a job does is safe to do again, so a worker that is killed half-way is simply succeeded.
    """
    job = claim_job(kinds=tuple(_WORK), job_id=job_id, lease=_LEASE)
    if job is None:
        return False
    _do(job)
    return True


def run_waiting_jobs() -> None:
    """Do all jobs that wait or whose worker died. Raises WorkspacesFailedError once all others are done."""
    each = EachWorkspace("run_waiting_jobs")
    while (job := claim_job(kinds=tuple(_WORK), job_id=None, lease=_LEASE)) is not None:
        with each.of(job.tenant_id):
            _do(job)
    each.tell()


def _do(job: Job) -> None:
    log.info("job.started", job=job.public_id, kind=job.kind)
    try:
        work = _WORK.get(job.kind)
        if work is None:
            fail_job(job=job, error={"code": "kind_unknown", "detail": f"No worker does {job.kind}."})
        else:
            result = work(job)
            with transaction.atomic():
                finish_job(job=job, result=result)
                _tidy(job)
            log.info("job.finished", job=job.public_id, kind=job.kind)
    except JobFailedError as failed:
        with transaction.atomic():
            fail_job(job=job, error={"code": failed.code, "detail": failed.detail})
            _tidy(job)
        log.warning("job.failed", job=job.public_id, kind=job.kind, code=failed.code)
    except LeaseLostError:
        log.warning("job.lease_lost", job=job.public_id, kind=job.kind)


def _close_periods(job: Job) -> Mapping[str, Any]:
    """`{"before": time}` finalises what ended by then; without it, what has ended. Then statements are issued."""
    before = job.input.get("before")
    closed = close_periods(
        before=datetime.fromisoformat(before) if before else datetime.max.replace(tzinfo=UTC),
        tenant=job.tenant,
        on_progress=partial(_renew, job),
    )
    issue_due_statements(job.tenant, on_progress=lambda _: _renew(job, closed))
    return _counts(closed)


def _move_clock(job: Job) -> Mapping[str, Any]:
    """`{"now": time}`: move the test workspace's clock on to this time, which a call has begun to."""

    def renew(happened: Happened) -> None:
        renew_lease(job=job, progress=happened.as_dict(), lease=_LEASE)

    to = datetime.fromisoformat(job.input["now"])
    return go_on_to(tenant_id=job.tenant_id, to=to, on_stop=renew).happened.as_dict()


def _renew(job: Job, closed: Closed) -> None:
    renew_lease(job=job, progress=_counts(closed), lease=_LEASE)


def _tidy(job: Job) -> None:
    """After the lease was seen to hold, in the same transaction: a worker that lost its job takes nothing away."""
    if job.kind == IMPORT_USAGE:
        discard_upload(job)


def _counts(closed: Closed) -> dict[str, int]:
    return {"closed": closed.balances, "finalized": closed.finalized, "refused": len(closed.refused)}


_WORK: Final[Mapping[str, Callable[[Job], Mapping[str, Any]]]] = {
    CLOSE_PERIODS: _close_periods,
    MOVE_CLOCK: _move_clock,
    IMPORT_USAGE: import_upload,
}
