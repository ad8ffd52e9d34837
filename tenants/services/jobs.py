"""Longer work: asked for over REST, done by a worker under a lease, polled by whoever asked.

The lease's end fences: a worker that was thought dead and comes back finds another end, and may write nothing.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from common.clock import real_clock
from tenants.domain.actors import Actor
from tenants.domain.enums import ActorKind, JobStatus
from tenants.models import Job, Tenant
from tenants.services.auditing import record_audit

LEASE = timedelta(minutes=5)
MAX_ATTEMPTS = 5

T = TypeVar("T")


class LeaseLostError(Exception):
    """Another worker has taken the job over; whoever held it stops."""


class JobFailedError(Exception):
    """The work cannot be done, and trying again would not help; `code` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def create_job(
    *,
    tenant: Tenant,
    actor: Actor,
    kind: str,
    input: Mapping[str, Any] | None = None,
) -> Job:
    """Ask for work; `input` is JSON. The caller sends the task that does it on commit."""
    job = Job(tenant=tenant, kind=kind, input=dict(input or {}), actor=asdict(actor))
    with transaction.atomic():
        job.save(force_insert=True)
        record_audit(tenant_id=tenant.id, actor=actor, action="job.created", target=job, changes={"kind": [None, kind]})
    return job


def claim_job(*, kinds: Collection[str] = (), job_id: UUID | None = None, lease: timedelta = LEASE) -> Job | None:
    """Take the oldest waiting job of these kinds (or this very one), or one whose worker died.

    None means that there is nothing to do. A job whose workers died five times is failed as `worker_died`.
    """
    while True:
        with transaction.atomic():
            now = real_clock().now()
            job = _next_job(kinds, job_id, now)
            if job is None:
                return None
            attempts = int(job.progress.get("attempts", 0))
            if attempts >= MAX_ATTEMPTS:
                _end(
                    job, JobStatus.FAILED, error={"code": "worker_died", "detail": "Its workers died again and again."}
                )
                continue
            job.status = JobStatus.RUNNING
            job.started_at = job.started_at or now
            job.lease_until = now + lease
            job.progress = {**job.progress, "attempts": attempts + 1}
            job.save(update_fields=["status", "started_at", "lease_until", "progress", "updated_at"])
            return job


def renew_lease(*, job: Job, progress: Mapping[str, Any] | None = None, lease: timedelta = LEASE) -> Job:
    """Go on for another lease, and tell how far it is: `progress` is merged in. Raises LeaseLostError."""
    with transaction.atomic():
        held = _held(job)
        held.lease_until = real_clock().now() + lease
        held.progress = {**held.progress, **(progress or {})}
        held.save(update_fields=["lease_until", "progress", "updated_at"])
    job.lease_until, job.progress = held.lease_until, held.progress
    return job


def while_held(job: Job, items: Iterable[T], *, lease: timedelta = LEASE) -> Iterator[T]:
    """The items, with the lease renewed whenever half of it is over: for what is read long before any of it is done.

    Raises LeaseLostError.
    """
    for item in items:
        if job.lease_until is None or job.lease_until - real_clock().now() < lease / 2:
            renew_lease(job=job, lease=lease)
        yield item


def finish_job(*, job: Job, result: Mapping[str, Any] | None = None) -> Job:
    """The work is done. Call it in the work's last transaction where there is one. Raises LeaseLostError."""
    with transaction.atomic():
        return _end(_held(job), JobStatus.SUCCEEDED, result=dict(result or {}))


def fail_job(*, job: Job, error: Mapping[str, Any]) -> Job:
    """The work cannot be done; `error` is `{"code", "detail"}`. Raises LeaseLostError."""
    with transaction.atomic():
        return _end(_held(job), JobStatus.FAILED, error=dict(error))


def actor_of(job: Job) -> Actor:
    """Who asked for the work: what it does is done in that name."""
    stored: dict[str, str] = dict(job.actor)
    return Actor(kind=ActorKind(stored.pop("kind")), **stored)


def _next_job(kinds: Collection[str], job_id: UUID | None, now: datetime) -> Job | None:
    waiting = Q(status=JobStatus.PENDING) | Q(status=JobStatus.RUNNING, lease_until__lte=now)
    jobs = Job.objects.filter(waiting, finished_at__isnull=True)
    if job_id is not None:
        jobs = jobs.filter(pk=job_id)
    elif kinds:
        jobs = jobs.filter(kind__in=kinds)
    return jobs.select_for_update(skip_locked=True, no_key=True).order_by("created_at", "id").first()


def _held(job: Job) -> Job:
    held = (
        Job.objects.select_for_update(no_key=True)
        .filter(pk=job.pk, status=JobStatus.RUNNING, lease_until=job.lease_until)
        .first()
    )
    if held is None:
        raise LeaseLostError(f"{job.public_id} is another worker's now, or is over.")
    return held


def _end(job: Job, status: JobStatus, *, result: dict[str, Any] | None = None, error: Any = None) -> Job:
    job.status = status
    job.result = result
    job.error = error
    job.finished_at = real_clock().now()
    job.lease_until = None
    job.save(update_fields=["status", "result", "error", "finished_at", "lease_until", "updated_at"])
    return job
