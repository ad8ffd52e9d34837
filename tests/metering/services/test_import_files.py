"""Imports of files: what was killed goes on where it was, and the file of refused lines is exact all the same."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from common.clock import real_clock
from common.ids import Prefix, encode_id
from licensing_site.environment import BASE_DIR
from metering.models import EventId, UsageEvent
from metering.services.import_files import FileImportBusy, format_of, import_file
from metering.services.import_formats import ImportFormat
from metering.services.import_runs import ImportProgress
from tenants.models import Job
from tests.metering.ledger_world import World, make_world

pytestmark = pytest.mark.django_db(transaction=True)


class Killed(BaseException):
    pass


def write_lines(world: World, path: Path, count: int) -> None:
    """Every tenth line is of a meter that there is none of."""
    agent = encode_id(Prefix.AGENT, world.agents[0].id)
    lines = [
        json.dumps({"id": f"e{n}", "meter": "tokens" if n % 10 else "none", "quantity": "1", "agent": agent})
        for n in range(count)
    ]
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def refused_lines(path: Path) -> list[int]:
    return [json.loads(line)["line"] for line in path.read_text().splitlines()]


def test_import_file__dies_between_portions__goes_on_with_exact_counts(tmp_path: Path) -> None:
    world = make_world(around=real_clock().now())
    path, rejected = tmp_path / "usage.ndjson.gz", tmp_path / "refused"
    write_lines(world, path, 9000)
    calls = 0

    def dies(_progress: ImportProgress, _read: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Killed

    def watch(_progress: ImportProgress, _read: int) -> None: ...

    with pytest.raises(Killed):
        import_file(tenant=world.tenant, path=path, format_=ImportFormat.NDJSON, rejected=rejected, watch=dies)
    assert UsageEvent.objects.filter(tenant=world.tenant).count() == 3600
    with pytest.raises(FileImportBusy):
        import_file(tenant=world.tenant, path=path, format_=ImportFormat.NDJSON, rejected=rejected, watch=watch)

    Job.objects.update(lease_until=real_clock().now())
    done = import_file(tenant=world.tenant, path=path, format_=ImportFormat.NDJSON, rejected=rejected, watch=watch)

    assert done.counts == {"recorded": 8100, "duplicates": 0, "conflicts": 0, "rejected": 900}
    assert refused_lines(rejected) == list(range(1, 9001, 10))
    assert Job.objects.get(tenant=world.tenant).result == {**done.counts, "lines": 9000}


def test_import_usage__killed_with_9__the_same_command_goes_on(tmp_path: Path) -> None:
    world = make_world(around=real_clock().now())
    path = tmp_path / "usage.ndjson"
    write_lines(world, path, 60_000)
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    command = [sys.executable, "manage.py", "import_usage", str(path), "--tenant", world.tenant.slug]
    running = subprocess.Popen(
        command, cwd=BASE_DIR, env={**os.environ, "DATABASE_URL": url}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 120
    while not EventId.objects.filter(tenant=world.tenant).exists() and running.poll() is None:
        assert time.monotonic() < until
    running.send_signal(signal.SIGKILL)
    said = running.communicate()[1]
    assert EventId.objects.filter(tenant=world.tenant).exists(), said.decode()[-2000:]
    Job.objects.update(lease_until=real_clock().now())

    with pytest.raises(SystemExit):
        call_command("import_usage", str(path), tenant=world.tenant.slug)

    assert UsageEvent.objects.filter(tenant=world.tenant).count() == 54_000
    job = Job.objects.get(tenant=world.tenant)
    assert job.result == {"recorded": 54_000, "duplicates": 0, "conflicts": 0, "rejected": 6000, "lines": 60_000}
    assert refused_lines(tmp_path / "usage.ndjson.rejected.ndjson") == list(range(1, 60_001, 10))


def test_import_usage__nothing_refused__leaves_no_file_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = make_world(around=real_clock().now())
    path = tmp_path / "usage.csv"
    path.write_text(f"id;license;meter;quantity\na;{encode_id(Prefix.LICENSE, world.license.id)};tokens;3\n")

    call_command("import_usage", str(path), tenant=world.tenant.slug)
    call_command("import_usage", str(path), tenant=world.tenant.slug)

    assert capsys.readouterr().out.splitlines() == [
        "2 lines: 1 recorded, 0 duplicates, 0 conflicts, 0 rejected.",
        "2 lines: 0 recorded, 1 duplicates, 0 conflicts, 0 rejected.",
    ]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["usage.csv"]


@pytest.mark.parametrize(
    ("meters", "counted", "said"),
    [
        (
            ("none", "none"),
            "3 lines: 0 recorded, 0 duplicates, 0 conflicts, 2 rejected.",
            "Nothing was taken. Refused lines",
        ),
        (("tokens", "none"), "3 lines: 1 recorded, 0 duplicates, 0 conflicts, 1 rejected.", "Refused lines"),
    ],
)
def test_import_usage__lines_refused__ends_with_status_1_and_says_where_they_are(
    meters: tuple[str, ...], counted: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = make_world(around=real_clock().now())
    path = tmp_path / "usage.csv"
    license = encode_id(Prefix.LICENSE, world.license.id)
    path.write_text(
        "id,license,meter,quantity\n" + "".join(f"{n},{license},{each},1\n" for n, each in enumerate(meters))
    )

    with pytest.raises(SystemExit) as ended:
        call_command("import_usage", str(path), tenant=world.tenant.slug)

    assert ended.value.code == 1
    assert capsys.readouterr().out.splitlines() == [counted, f"{said} with reasons: {path}.rejected.ndjson"]
    assert len(refused_lines(path.with_name("usage.csv.rejected.ndjson"))) == meters.count("none")


def test_import_usage__workspace_file_or_stream_that_is_none__says_so(tmp_path: Path) -> None:
    world = make_world(around=real_clock().now())
    cut = tmp_path / "cut.ndjson.gz"
    cut.write_bytes(gzip.compress(b"{}\n")[:-5])

    for file, slug, words in [
        (cut, "nobody", "no workspace"),
        (tmp_path / "none", world.tenant.slug, "no file"),
        (cut, world.tenant.slug, "compression_invalid"),
    ]:
        with pytest.raises(CommandError, match=words):
            call_command("import_usage", str(file), tenant=slug)
    assert Job.objects.get(tenant=world.tenant).error["code"] == "compression_invalid"


@pytest.mark.parametrize(
    ("name", "expected"), [("a.csv", "csv"), ("A.CSV.GZ", "csv"), ("a.ndjson.gz", "ndjson"), ("a.jsonl", "ndjson")]
)
def test_format_of__names__say_it(name: str, expected: str) -> None:
    assert format_of(Path(name)) == expected
