"""The supervised stack, with real processes: what it refuses, what it starts again, and that nothing outlives it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from licensing_site.environment import BASE_DIR
from tests.stack_fixtures import LiveStack

pytestmark = pytest.mark.stack

NewStack = Callable[..., LiveStack]


def assert_all_end(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert [" ".join(process.cmdline()) for process in alive] == []


def test_run__asked_to_stop__ends_every_process_and_the_next_start_has_data_and_secrets(new_stack: NewStack) -> None:
    stack = new_stack(from_nothing=True).start()
    processes = stack.everything()
    assert len(processes) >= 8
    with stack.connect() as connection:
        connection.execute("CREATE TABLE kept (n integer)")
    secrets = (stack.var_dir / "secrets.json").read_bytes()

    assert stack.stop(signal.SIGINT) == 0

    assert_all_end(processes)
    assert stack.lines[-1] == "permeter: stopped\n"
    assert not (stack.var_dir / "stack.json").exists()

    processes = stack.start().everything()
    with stack.connect() as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    assert (stack.var_dir / "secrets.json").read_bytes() == secrets
    assert stack.stop(signal.SIGTERM) == 0
    assert_all_end(processes)

    assert run_action("clean", stack.var_dir).returncode == 0
    assert not stack.var_dir.exists()


def test_run__supervisor_is_killed__no_process_is_left_and_the_next_start_works(new_stack: NewStack) -> None:
    stack = new_stack().start()
    processes = stack.everything()

    stack.kill("supervisor")

    assert_all_end(processes)
    assert stack.start().is_ready()


def test_run__a_program_is_killed__it_is_started_again(new_stack: NewStack) -> None:
    stack = new_stack().start()
    assert len(stack.pids("web-process")) == 2

    for name in ("postgres", "valkey", "web", "worker", "beat", "web-process"):
        gone = stack.kill(name)
        stack.wait_until_ready(name=name, other_than=gone)

    said = [line.partition(";")[0] for line in stack.lines if " ended " in line]
    assert said == [
        f"permeter: {name} ended (signal SIGKILL)" for name in ("postgres", "valkey", "web", "worker", "beat")
    ]
    end = time.monotonic() + 20
    while len(stack.pids("web-process")) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    assert len(stack.pids("web-process")) == 2


def test_run__port_is_taken__is_refused_before_anything_starts(new_stack: NewStack) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        stack = new_stack(port=taken.getsockname()[1])
        stack.launch()
        assert stack.process is not None
        assert stack.process.wait(30) == 1
    time.sleep(0.1)
    assert f"Port {stack.port} on 127.0.0.1 cannot be used" in "".join(stack.lines)
    assert not (stack.var_dir / "postgres").exists()


def test_run__second_on_the_same_var_dir__is_refused_and_the_first_goes_on(live_stack: LiveStack) -> None:
    second = LiveStack(var_dir=live_stack.var_dir)

    second.launch()

    assert second.process is not None
    assert second.process.wait(30) == 1
    time.sleep(0.1)
    running = f"(process {live_stack.pid('supervisor')}, {live_stack.base_url})"
    assert f"A stack already runs on {live_stack.var_dir} {running}" in "".join(second.lines)
    assert live_stack.is_ready()


def test_run__two_checkouts_side_by_side__do_not_meet(new_stack: NewStack, live_stack: LiveStack) -> None:
    stacks = [live_stack, new_stack().start()]

    for number, stack in enumerate(stacks):
        with stack.connect() as connection:
            connection.execute("CREATE TABLE side (n integer)")
            connection.execute("INSERT INTO side VALUES (%s)", [number])
        stack.valkey().set("side", number)

    for number, stack in enumerate(stacks):
        with stack.connect() as connection:
            assert connection.execute("SELECT n FROM side").fetchall() == [(number,)]
            connection.execute("DROP TABLE side")
        assert stack.valkey().get("side") == str(number).encode()


def test_run__files_with_secrets__are_their_owners_alone(live_stack: LiveStack) -> None:
    for name in ("secrets.json", "stack.json"):
        assert stat.S_IMODE((live_stack.var_dir / name).stat().st_mode) == 0o600


def test_run__own_database_and_valkey_given__starts_none(new_stack: NewStack, live_stack: LiveStack) -> None:
    with live_stack.connect() as connection:
        connection.execute("CREATE DATABASE elsewhere")
    addresses = live_stack.addresses
    stack = new_stack(
        DATABASE_URL=addresses["database_url"].replace("/permeter?", "/elsewhere?"),
        REDIS_URL=addresses["redis_url"].replace("db=0", "db=9"),
    ).start()

    assert stack.is_ready()
    assert stack.pids("postgres") == stack.pids("valkey") == []
    assert not (stack.var_dir / "postgres").exists()


def test_run__port_is_no_number__is_a_clear_error(new_stack: NewStack) -> None:
    stack = new_stack(PORT="none")
    stack.launch()
    assert stack.process is not None
    assert stack.process.wait(30) == 1
    time.sleep(0.1)
    assert stack.lines == ["permeter: PORT is a number from 1 to 65535, not 'none'.\n"]


def run_action(action: str, var_dir: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    return subprocess.run(
        [sys.executable, "-m", "licensing_site.stack", action],
        cwd=BASE_DIR,
        env={**env, "VAR_DIR": str(var_dir)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_verify__no_stack_runs__says_so(var_dir: Path) -> None:
    result = run_action("verify", var_dir)
    assert result.returncode == 1
    assert result.stderr.startswith(f"permeter: No stack runs on {var_dir}")


def test_clean__running_stack__is_refused(live_stack: LiveStack) -> None:
    result = run_action("clean", live_stack.var_dir)
    assert result.returncode == 1
    assert "A stack already runs" in result.stderr
    assert live_stack.is_ready()


def test_clean__some_other_folder__is_refused(var_dir: Path) -> None:
    (var_dir / "mine.txt").write_text("keep")
    result = run_action("clean", var_dir)
    assert result.returncode == 1
    assert (var_dir / "mine.txt").read_text() == "keep"
