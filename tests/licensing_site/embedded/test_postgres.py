from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from licensing_site.embedded import EmbeddedError, EmbeddedPostgres
from licensing_site.embedded.processes import is_alive, wait_until_dead

MakePostgres = Callable[[], EmbeddedPostgres]


def wait_until_it_answers(server: EmbeddedPostgres) -> None:
    for _ in range(200):
        try:
            psycopg.connect(server.url).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the server does not answer")


def write_row(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n integer)")
        connection.execute("INSERT INTO kept VALUES (1)")


def rows(server: EmbeddedPostgres) -> int:
    with psycopg.connect(server.url) as connection:
        found = connection.execute("SELECT count(*) FROM kept").fetchone()
        assert found is not None
        return int(found[0])


def show(server: EmbeddedPostgres, name: str) -> str:
    with psycopg.connect(server.url) as connection:
        found = connection.execute(f"SELECT current_setting('{name}')").fetchone()
        assert found is not None
        return str(found[0])


def test_start__twice_on_one_var_dir__second_start_has_the_first_ones_data(make_postgres: MakePostgres) -> None:
    first = make_postgres()
    first.start()
    write_row(first)
    first.stop()
    assert not first.child.is_running()

    second = make_postgres()
    second.start()

    assert rows(second) == 1
    assert second.notes == []


@pytest.mark.parametrize("name", ["fsync", "synchronous_commit", "full_page_writes", "data_checksums"])
def test_start__default_settings__are_durable(make_postgres: MakePostgres, name: str) -> None:
    server = make_postgres()
    server.start()
    assert show(server, name) == "on"


def test_start__default_settings__listens_on_no_port(make_postgres: MakePostgres, sockets: Path) -> None:
    server = make_postgres()
    server.start()
    assert show(server, "listen_addresses") == ""
    assert oct(sockets.stat().st_mode & 0o777) == "0o700"


def test_start__as_root__server_runs_as_an_ordinary_user(make_postgres: MakePostgres) -> None:
    server = make_postgres()
    server.start()
    owner = Path(f"/proc/{server.child.pid}").stat().st_uid
    assert owner != 0
    assert owner == (server.account.uid if server.account else os.geteuid())


def test_restart__server_was_killed__committed_rows_are_there(make_postgres: MakePostgres) -> None:
    server = make_postgres()
    server.start()
    write_row(server)
    os.kill(server.child.pid, signal.SIGKILL)

    server.restart()

    assert rows(server) == 1


@pytest.mark.parametrize("content", ["", "999999999\n", "{own}\n/elsewhere\n", "garbage"])
def test_start__stale_pid_file__starts(make_postgres: MakePostgres, content: str) -> None:
    server = make_postgres()
    server.start()
    write_row(server)
    server.stop()
    pid_file = server.data / "postmaster.pid"
    # This test's own process is alive and no server of ours, like any that was given a dead server's id.
    pid_file.write_text(content.replace("{own}", str(os.getpid())))
    if server.account:
        server.account.own(server.data)

    again = make_postgres()
    again.start()

    assert rows(again) == 1


def test_start__server_outlived_its_stack__is_ended_and_its_data_taken_over(make_postgres: MakePostgres) -> None:
    server = make_postgres()
    server.start()
    write_row(server)
    server.stop()
    orphan = subprocess.Popen(
        server.child.command,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        **(server.account.popen_arguments() if server.account else {}),
    )
    wait_until_it_answers(server)

    again = make_postgres()
    again.start()

    assert orphan.wait(10) is not None
    assert "an earlier start left behind" in again.notes[0]
    assert rows(again) == 1


def test_start__data_folder_was_cut_short__is_kept_aside_and_made_anew(make_postgres: MakePostgres) -> None:
    server = make_postgres()
    server.data.mkdir()
    (server.data / "PG_VERSION").write_text(f"{server.major}\n")
    (server.data / "base").mkdir()

    server.start()

    [kept] = server.data.parent.glob(f"{server.data.name}.unusable-*")
    assert (kept / "base").is_dir()
    assert str(kept) in server.notes[0]
    assert show(server, "cluster_name") == "permeter"


def test_start__initialisation_was_cut_short__leftover_is_removed(make_postgres: MakePostgres) -> None:
    server = make_postgres()
    leftover = server.data.with_name(f"{server.data.name}.new-123")
    leftover.mkdir()
    (leftover / "PG_VERSION").write_text(f"{server.major}\n")

    server.start()

    assert not leftover.exists()
    assert server.notes == []


def test_start__data_of_another_major__is_refused_with_the_way_out_and_left_alone(make_postgres: MakePostgres) -> None:
    server = make_postgres()
    server.start()
    server.stop()
    (server.data / "PG_VERSION").write_text("15\n")
    before = sorted(path.name for path in server.data.iterdir())

    with pytest.raises(EmbeddedError, match=r"holds data of PostgreSQL 15(.|\n)*pg_dump(.|\n)*pg_restore"):
        make_postgres().start()

    assert sorted(path.name for path in server.data.iterdir()) == before


def test_child__parent_is_killed__server_ends(make_postgres: MakePostgres, var_dir: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from licensing_site.embedded import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(Path(sys.argv[1]), sockets=Path(sys.argv[2]))\n"
        "server.start()\n"
        "print(server.child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    server = make_postgres()
    ran = subprocess.run(
        [sys.executable, "-c", script, str(var_dir), str(server.sockets)],
        capture_output=True,
        text=True,
        check=False,
    )
    pid = int(ran.stdout)

    assert ran.returncode == -signal.SIGKILL
    assert wait_until_dead(pid, within=20)
    assert not is_alive(pid)
