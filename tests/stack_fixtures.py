"""Whole stacks for tests of real processes: Granian with two processes, a Celery worker, beat, and stores of their own.

* `live_stack` (the session's) is for tests that leave it healthy; `new_stack` is a factory for those that break things.
* The first start of one finds its database made and migrated, as a second start does: see `stack_templates`. With
  `from_nothing=True` it makes everything itself.
* `stack.base_url` is where it serves; `stack.url("/readyz")` joins.
* `with stack.orm():` turns Django's `default` database, `REDIS_URL` and the keys of this process to the stack, so that
  factories and services can be called in the test itself. It holds for the thread that entered it.
* `stack.manage("verify_ledger")` runs a management command there; `stack.connect()` is psycopg, `stack.valkey()` is
  redis-py.
* `stack.kill("worker")` is `kill -9` of `web`, `web-process` (one of Granian's), `worker`, `beat`, `postgres`, `valkey`
  or `supervisor`; `stack.wait_until_ready()` waits for `/readyz`, and with `other_than=pid` for a successor.

Tests that use these carry `@pytest.mark.stack`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis

from licensing_site.environment import BASE_DIR, database_settings
from tests.stack_templates import fill
from tests.stores import SECRETS, make_var_dir, remove_var_dir

READY_WITHIN = 120.0
#: For `PERMETER_LONGEST_ROUND_SECONDS`: who waits for a round of beat need not wait for the whole of it.
ROUND = "2"


class LiveStack:
    """`python -m licensing_site.stack run` on a temporary `VAR_DIR` and a free port."""

    def __init__(
        self, *, var_dir: Path | None = None, port: int | None = None, from_nothing: bool = False, **env: str
    ) -> None:
        self.var_dir = var_dir or make_var_dir()
        self.from_nothing = from_nothing
        self.port = port or free_port()
        self.env = {
            **{name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}},
            **SECRETS,
            "VAR_DIR": str(self.var_dir),
            "PORT": str(self.port),
            "PERMETER_QUICKSTART": "0",
            **env,
        }
        self.env.pop("MAKELEVEL", None)
        self.lines: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self.django_blocker: Any = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return self.base_url + path

    @property
    def addresses(self) -> dict[str, Any]:
        """What the stack says about itself in `stack.json`."""
        found: dict[str, Any] = json.loads((self.var_dir / "stack.json").read_text())
        return found

    def start(self) -> LiveStack:
        """Start and wait for the line `ready …`; fails with everything that was printed."""
        if not (self.from_nothing or "DATABASE_URL" in self.env or any(self.var_dir.iterdir())):
            fill(self.var_dir, demo=self.env["PERMETER_QUICKSTART"] != "0")
        self.launch()
        end = time.monotonic() + READY_WITHIN
        while not any(line.startswith("ready ") for line in self.lines):
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                pytest.fail("the stack did not start:\n" + "".join(self.lines), pytrace=False)
            time.sleep(0.05)
        return self

    def launch(self) -> None:
        """Start without waiting; what it prints gathers in `lines`."""
        self.lines = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "licensing_site.stack", "run"],
            cwd=BASE_DIR,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._gather, args=(self.process,), daemon=True).start()

    def _gather(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask the supervisor to end; its exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)

    def remove(self) -> None:
        """End it and remove its state, which nobody wants any more: its programs need not end in good order."""
        if self.process is not None and self.process.poll() is None:
            programs = {name: self.pids(name) for name in ("web", "worker", "beat", "postgres")}
            self.process.send_signal(signal.SIGTERM)
            for name, pids in programs.items():
                for pid in pids:
                    with suppress(ProcessLookupError):
                        # PostgreSQL gives its shared memory back when asked to end at once, but not when it is killed.
                        os.kill(pid, signal.SIGQUIT if name == "postgres" else signal.SIGKILL)
            self.process.wait(60)
        remove_var_dir(self.var_dir)

    def pid(self, name: str) -> int:
        """The process id of one of the stack's programs, or of one of its web processes (`web-process`)."""
        return self.pids(name)[0]

    def pids(self, name: str) -> list[int]:
        assert self.process is not None
        if name == "supervisor":
            return [self.process.pid]
        if name == "web-process":
            children = psutil.Process(self.pid("web")).children()
            lines = {child.pid: _command_line(child) for child in children}
            return [pid for pid, line in lines.items() if line and "resource_tracker" not in line]
        marks = {
            "postgres": "bin/postgres -D",
            "valkey": "valkey-server",
            "web": "-m granian",
            "worker": "licensing_site worker",
            "beat": "licensing_site.beat beat",
        }
        found = psutil.Process(self.process.pid).children()
        return [child.pid for child in found if marks[name] in _command_line(child)]

    def everything(self) -> list[psutil.Process]:
        """Every process of the stack, the supervisor included."""
        assert self.process is not None
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]

    def kill(self, name: str) -> int:
        """`kill -9`; the id of the process that is gone."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url("/readyz"), timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def wait_until_ready(self, *, name: str | None = None, other_than: int | None = None, within: float = 60) -> None:
        """Wait for `/readyz`; with `name` and `other_than`, until another process has taken that one's place."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            current = self._pids_or_none(name) if name else None
            if (current is None or (current and other_than not in current)) and self.is_ready():
                return
            time.sleep(0.1)
        pytest.fail(f"not ready after {within:.0f} s:\n" + "".join(self.lines), pytrace=False)

    def _pids_or_none(self, name: str) -> list[int]:
        try:
            return self.pids(name)
        except (IndexError, psutil.NoSuchProcess):
            return []

    def connect(self) -> psycopg.Connection:
        """A connection to the stack's PostgreSQL, in autocommit."""
        return psycopg.connect(self.addresses["database_url"], autocommit=True)

    def valkey(self) -> redis.Redis:
        return redis.Redis.from_url(self.addresses["redis_url"])

    def manage(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `manage.py` against the stack."""
        addresses = self.addresses
        env = {**self.env, "DATABASE_URL": addresses["database_url"], "REDIS_URL": addresses["redis_url"]}
        result = subprocess.run(
            [sys.executable, BASE_DIR / "manage.py", *command],
            cwd=BASE_DIR,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and result.returncode != 0:
            pytest.fail(f"manage.py {' '.join(command)}:\n{result.stdout}{result.stderr}", pytrace=False)
        return result

    @contextmanager
    def orm(self) -> Iterator[None]:
        """Django in this thread works on the stack's stores: what is made here, the stack's processes see."""
        from django.db import connections
        from django.test import override_settings

        addresses = self.addresses
        before = connections["default"]
        entry = {**before.settings_dict, **database_settings(addresses["database_url"], pool_size=None)}
        with ExitStack() as stack:
            if self.django_blocker is not None:
                stack.enter_context(self.django_blocker.unblock())
            stack.enter_context(override_settings(REDIS_URL=addresses["redis_url"]))
            connection = type(before)(entry, "default")
            connections["default"] = connection
            try:
                yield
            finally:
                connections["default"] = before
                connection.close()


def _command_line(process: psutil.Process) -> str:
    """Empty for one that has just ended, also while nobody has asked for its status yet."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def live_stack(django_db_blocker: Any) -> Iterator[LiveStack]:
    """The session's stack. Leave it as you found it: healthy."""
    stack = LiveStack()
    stack.django_blocker = django_db_blocker
    try:
        yield stack.start()
    finally:
        stack.remove()


@pytest.fixture
def new_stack(django_db_blocker: Any) -> Iterator[Callable[..., LiveStack]]:
    """Makes stacks of a test's own (not started yet); they are ended and removed with the test."""
    made: list[LiveStack] = []

    def make(**options: Any) -> LiveStack:
        stack = LiveStack(**options)
        stack.django_blocker = django_db_blocker
        made.append(stack)
        return stack

    yield make
    for stack in made:
        stack.remove()
