"""Imports of files by hand: with a job that remembers how far they are, so that one that was killed goes on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from common.clock import real_clock
from metering.services.import_formats import ImportFormat
from metering.services.import_runs import ImportProgress, run_import
from metering.services.import_streams import PIECE, ImportBroken
from metering.services.importing import RefusedLine
from tenants.domain.actors import worker
from tenants.domain.enums import JobStatus
from tenants.models import Job, Tenant
from tenants.services.jobs import claim_job, create_job, fail_job, finish_job, renew_lease, while_held

IMPORT_FILE: Final = "usage.import_file"
#: No worker takes these jobs up: whoever started one does it again, and need not wait long for it.
_LEASE: Final = timedelta(seconds=15)
_SAMPLE: Final = 1024 * 1024

_encode = msgspec.json.Encoder().encode

#: Told after each portion: how far it is, and how many bytes of the file were read.
Watch = Callable[[ImportProgress, int], None]


class FileImportBusy(Exception):
    """The same file is being imported, or was until moments ago; `seconds` until it can be taken over."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"busy for {seconds:.0f} s")
        self.seconds = seconds


def format_of(path: Path) -> ImportFormat:
    """What a file's name says: `.csv` and `.csv.gz` are CSV, all else NDJSON."""
    name = path.name.lower().removesuffix(".gz")
    return ImportFormat.CSV if name.endswith(".csv") else ImportFormat.NDJSON


def import_file(
    *, tenant: Tenant, path: Path, format_: ImportFormat, rejected: Path, again: bool = False, watch: Watch
) -> ImportProgress:
    """Import a file of usage into a workspace, from where an import of it that was killed had come to.

    Events may be as old as they are kept. Refused lines go to `rejected`. With `again` it begins anew: what is counted
    already is found as duplicates. Raises FileImportBusy, ImportBroken, OSError.
    """
    job = _claimed(tenant, path, format_, again=again)
    begin = ImportProgress.of(job.progress)
    try:
        with path.open("rb") as source, rejected.open("r+b" if begin.line and rejected.exists() else "w+b") as sink:
            memory = _FileMemory(job, sink, lambda progress: watch(progress, source.tell()))
            done = run_import(
                tenant=tenant,
                pieces=while_held(job, _pieces(source), lease=_LEASE),
                format_=format_,
                backfill=True,
                begin=begin,
                remember=memory,
            )
    except ImportBroken as broken:
        fail_job(job=job, error={"code": broken.code, "detail": broken.detail})
        raise
    finish_job(job=job, result={**done.counts, "lines": done.line})
    return done


class _FileMemory:
    """Keeps progress with the job, and refused lines in a file that is as long as the job says."""

    def __init__(self, job: Job, sink: BinaryIO, watch: Callable[[ImportProgress], None]) -> None:
        self._job = job
        self._sink = sink
        self._watch = watch
        self._held = job.lease_until
        self._line = -1
        self._written = self._next = int(job.progress.get("rejected_bytes", 0))
        self.cut()

    def __call__(self, progress: ImportProgress, refused: Sequence[RefusedLine]) -> None:
        job = self._job
        if progress.line == self._line:
            # The same portion once more: what the last attempt wrote was rolled back, the lease with it.
            job.lease_until = self._held
        else:
            self._written = self._next
        self._held, self._line = job.lease_until, progress.line
        data = b"".join([_encode(line.as_json()) + b"\n" for line in refused])
        self._next = self._written + len(data)
        remembered = {**progress.as_json(), "attempts": 0, "rejected_bytes": self._next}
        # Behind the lease, as another command may have the file by now; and before the commit, so that a job never
        # speaks of lines that are not there.
        renew_lease(job=job, progress=remembered, lease=_LEASE)
        self.cut()
        self._sink.write(data)
        self._sink.flush()
        self._watch(progress)

    def cut(self) -> None:
        """Take off what an attempt that was not committed left at the end."""
        self._sink.truncate(self._written)
        self._sink.seek(self._written)


def _claimed(tenant: Tenant, path: Path, format_: ImportFormat, *, again: bool) -> Job:
    input: Mapping[str, Any] = {"file": path.name, "format": str(format_), **_identity(path)}
    jobs = Job.objects.for_tenant(tenant).filter(kind=IMPORT_FILE, input=input, finished_at__isnull=True)
    known = None if again else jobs.order_by("-created_at").first()
    if known is not None and known.status == JobStatus.RUNNING:
        left = (known.lease_until - real_clock().now()).total_seconds() if known.lease_until else 0
        if left > 0:
            raise FileImportBusy(left)
    wanted = known or create_job(tenant=tenant, actor=worker("import_usage"), kind=IMPORT_FILE, input=input)
    job = claim_job(job_id=wanted.id, lease=_LEASE)
    if job is None:
        raise FileImportBusy(_LEASE.total_seconds())
    return job


def _identity(path: Path) -> dict[str, Any]:
    """What tells one file from another: its size, and a digest of its beginning and its end."""
    size = path.stat().st_size
    digest = sha256()
    with path.open("rb") as source:
        digest.update(source.read(_SAMPLE))
        source.seek(max(0, size - _SAMPLE))
        digest.update(source.read(_SAMPLE))
    return {"bytes": size, "digest": digest.hexdigest()}


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    while piece := source.read(PIECE):
        yield piece
