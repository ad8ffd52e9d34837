"""Imports that were sent over REST: a job for a worker, which goes on where the one before it was killed."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings

from metering.services.import_formats import ImportFormat
from metering.services.import_runs import ImportProgress, run_import
from metering.services.import_streams import ImportBroken
from metering.services.import_uploads import Upload, body_of, discard_body, keep_rejected
from metering.services.importing import RefusedLine
from tenants.domain.actors import Actor
from tenants.models import Job, Tenant
from tenants.services.jobs import JobFailedError, create_job, renew_lease, while_held

IMPORT_USAGE: Final = "usage.import"
_LEASE: Final[timedelta] = settings.PERMETER_JOB_LEASE


def ask_to_import(*, tenant: Tenant, actor: Actor, upload: Upload, format_: ImportFormat, backfill: bool) -> Job:
    """A job that imports this upload; the caller sends the task that does it on commit."""
    return create_job(
        tenant=tenant,
        actor=actor,
        kind=IMPORT_USAGE,
        input={"upload": str(upload.id), "format": str(format_), "bytes": upload.size, "backfill": backfill},
    )


def import_upload(job: Job) -> Mapping[str, Any]:
    """Import what was uploaded, from where the job is. The counts of all its workers together.

    What was uploaded stays: whoever ends the job discards it with that, so that no worker takes it from another.
    Raises JobFailedError where the stream cannot be read on, LeaseLostError where another worker has the job.
    """
    upload_id = upload_of(job)
    try:
        done = run_import(
            tenant=job.tenant,
            # Where a worker goes on for another, gigabytes may have to be passed over before the first portion.
            pieces=while_held(job, _whole(job, upload_id), lease=_LEASE),
            format_=ImportFormat(job.input["format"]),
            backfill=bool(job.input["backfill"]),
            begin=ImportProgress.of(job.progress),
            remember=JobMemory(job, upload_id),
        )
    except ImportBroken as broken:
        raise JobFailedError(broken.code, broken.detail) from None
    return {**done.counts, "lines": done.line}


def discard_upload(job: Job) -> None:
    """The job is over, and what was uploaded for it goes. Call it in the transaction that ends the job."""
    discard_body(job.tenant_id, upload_of(job))


def _whole(job: Job, upload_id: UUID) -> Iterator[bytes]:
    """What was uploaded. Raises JobFailedError at the end if that was not all: it is kept for days, not for ever."""
    size = 0
    for piece in body_of(job.tenant_id, upload_id):
        size += len(piece)
        yield piece
    if size < int(job.input["bytes"]):
        raise JobFailedError("upload_gone", "What was uploaded is not kept any more. Send it again.")


class JobMemory:
    """Keeps an import's progress with its job, under the lease, and the refused lines beside it."""

    def __init__(self, job: Job, upload_id: UUID, lease: timedelta = _LEASE) -> None:
        self._job = job
        self._upload_id = upload_id
        self._lease = lease
        self._held = job.lease_until
        self._line = -1

    def __call__(self, progress: ImportProgress, refused: Sequence[RefusedLine]) -> None:
        """Runs in a portion's transaction. Raises LeaseLostError."""
        job = self._job
        if progress.line == self._line:
            # The same portion once more: what the last attempt wrote was rolled back, the lease with it.
            job.lease_until = self._held
        self._held, self._line = job.lease_until, progress.line
        # A worker that gets on is not one of those that die again and again.
        renew_lease(job=job, progress={**progress.as_json(), "attempts": 0}, lease=self._lease)
        keep_rejected(job.tenant_id, self._upload_id, refused)


def upload_of(job: Job) -> UUID:
    """Where the job's bytes and refused lines are."""
    return UUID(job.input["upload"])
