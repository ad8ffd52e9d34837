"""Imports whose worker is slow: another may take the job over, and only one of them writes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils.timezone import now

from common.ids import Prefix, encode_id
from metering.models import Balance, ImportPart, UsageEvent
from metering.services.import_files import import_file
from metering.services.import_formats import ImportFormat
from metering.services.import_jobs import ask_to_import, import_upload
from metering.services.import_runs import ImportProgress
from metering.services.import_uploads import Upload, rejected_of
from metering.services.running_jobs import run_job
from tenants.domain.actors import worker
from tenants.domain.enums import JobStatus
from tenants.models import Job
from tenants.services.jobs import JobFailedError, LeaseLostError, claim_job, fail_job, while_held
from tenants.services.locks import lock_configuration
from tests.http_client import until
from tests.metering.ledger_world import World, make_world

pytestmark = pytest.mark.django_db(transaction=True)

LINES = 40


def lines(world: World, count: int = LINES) -> bytes:
    """Every tenth line is of a meter that there is none of."""
    agent = encode_id(Prefix.AGENT, world.agents[0].id)
    return b"".join(
        json.dumps({"id": f"e{n}", "meter": "tokens" if n % 10 else "none", "quantity": "1", "agent": agent}).encode()
        + b"\n"
        for n in range(count)
    )


def ask(world: World, body: bytes) -> Job:
    upload = Upload(world.tenant)
    upload.store([body])
    return ask_to_import(
        tenant=world.tenant, actor=worker("test"), upload=upload, format_=ImportFormat.NDJSON, backfill=False
    )


def claimed(job: Job, lease: timedelta = timedelta(minutes=1)) -> Job:
    held = claim_job(job_id=job.id, lease=lease)
    assert held is not None
    return held


def lose(job: Job) -> None:
    """Its worker is thought dead from now on."""
    Job.objects.filter(pk=job.pk).update(lease_until=now() - timedelta(seconds=1))


@contextmanager
def in_threads(number: int) -> Iterator[Callable[[Callable[[], Any]], Future[Any]]]:
    def run(call: Callable[[], Any]) -> Any:
        try:
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(number) as pool:
        yield lambda call: pool.submit(run, call)


def until_waiting(number: int) -> None:
    """Return once so many others wait for an advisory lock."""
    with connection.cursor() as cursor:

        def wait() -> bool:
            cursor.execute(
                "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
                "WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
            )
            return bool(cursor.fetchone() == (number,))

        until(wait)


def test_import__portion_slower_than_the_lease__counts_once_whoever_finishes_it() -> None:
    world = make_world(around=now())
    world.quota("1000")
    job = ask(world, lines(world))
    with in_threads(3) as start:
        with transaction.atomic():
            lock_configuration(world.tenant.id)
            slow = start(lambda: run_job(job_id=job.id))
            until_waiting(1)
            start(lambda: lose(job)).result(10)
            quick = start(lambda: run_job(job_id=job.id))
            until_waiting(2)
        assert (slow.result(60), quick.result(60)) == (True, True)

    job.refresh_from_db()
    assert job.status == JobStatus.SUCCEEDED
    assert job.result is not None
    assert job.result == {"recorded": LINES - 4, "duplicates": 0, "conflicts": 0, "rejected": 4, "lines": LINES}
    assert UsageEvent.objects.count() == LINES - 4
    assert Balance.objects.get().used == Decimal(LINES - 4)
    refused = b"".join(rejected_of(world.tenant.id, job_upload(job))).splitlines()
    assert [json.loads(line)["line"] for line in refused] == [1, 11, 21, 31]


def job_upload(job: Job) -> Any:
    return ImportPart.objects.get(tenant=job.tenant).upload_id


@pytest.mark.parametrize("damaged", [False, True])
def test_import__late_worker_comes_to_the_end__takes_nothing_from_the_one_that_has_the_job(damaged: bool) -> None:
    world = make_world(around=now())
    body = lines(world)
    job = ask(world, gzip.compress(body)[:-6] if damaged else body)
    late = claimed(job)
    lose(job)
    claimed(job)

    with pytest.raises(JobFailedError if damaged else LeaseLostError):
        import_upload(late)
    with pytest.raises(LeaseLostError):
        fail_job(job=late, error={"code": "compression_invalid"})

    assert ImportPart.objects.filter(kind="body").count() == 1
    assert not UsageEvent.objects.exists()
    lose(job)
    assert run_job(job_id=job.id) is True
    job.refresh_from_db()
    assert job.status == (JobStatus.FAILED if damaged else JobStatus.SUCCEEDED)
    assert not ImportPart.objects.filter(kind="body").exists()


def test_import__long_way_to_where_it_was__keeps_the_job_meanwhile() -> None:
    world = make_world(around=now())
    body = lines(world)
    job = ask(world, body)
    Job.objects.update(progress={"line": LINES, "offset": len(body), "recorded": LINES - 4, "rejected": 4})
    held = claimed(job, lease=timedelta(seconds=20))

    done = import_upload(held)

    assert done == {"recorded": LINES - 4, "duplicates": 0, "conflicts": 0, "rejected": 4, "lines": LINES}
    kept = Job.objects.get().lease_until
    assert kept is not None
    assert kept == held.lease_until
    assert kept - now() > timedelta(seconds=40)


def test_while_held__lease_that_is_fresh__is_left_alone_and_one_that_is_lost_stops_it() -> None:
    world = make_world(around=now())
    held = claimed(ask(world, b"{}\n"))
    before = held.lease_until
    reading = while_held(held, iter("abc"), lease=timedelta(minutes=1))

    assert (next(reading), held.lease_until) == ("a", before)
    held.lease_until = now() + timedelta(seconds=29)
    Job.objects.update(lease_until=held.lease_until)
    assert next(reading) == "b"
    assert held.lease_until == Job.objects.get().lease_until
    assert held.lease_until - now() > timedelta(seconds=40)
    Job.objects.update(lease_until=now() + timedelta(minutes=2))
    held.lease_until = now()
    with pytest.raises(LeaseLostError):
        next(reading)


def test_import_file__command_that_lost_the_file__leaves_the_refused_lines_of_the_other(tmp_path: Path) -> None:
    world = make_world(around=now())
    path, rejected = tmp_path / "usage.ndjson", tmp_path / "refused"
    path.write_bytes(lines(world, 9000))
    theirs = b"what the other command wrote\n" * 9000

    def taken_over(_progress: ImportProgress, _read: int) -> None:
        Job.objects.update(lease_until=now() + timedelta(hours=1))
        rejected.write_bytes(theirs)

    with pytest.raises(LeaseLostError):
        import_file(tenant=world.tenant, path=path, format_=ImportFormat.NDJSON, rejected=rejected, watch=taken_over)

    assert rejected.read_bytes() == theirs
    assert UsageEvent.objects.count() == 3600
