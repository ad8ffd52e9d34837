"""A stack for measuring: the one that `make run` starts, without demo data, on free ports and a temporary VAR_DIR."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg
from psycopg import sql

from benchmarks import pace
from benchmarks.load import Question, client_name
from benchmarks.servers import ROOT, WEB_PROCESSES, best_threads, free_port, serving, wait_for
from licensing_site.embedded import EmbeddedPostgres
from licensing_site.embedded.account import server_account
from licensing_site.embedded.places import socket_folder
from licensing_site.supervisor import BLOCKING_THREADS

#: Told by the process that runs all groups, once one of them has tried it out.
THREADS_KNOWN = "PERMETER_BENCH_BARE_THREADS"
BARE_DJANGO = "benchmarks.peers.bare_django:application"
#: With `--profile`. Plans of statements that take longer than so many milliseconds are logged.
POSTGRES_THAT_TELLS = {
    "shared_preload_libraries": "pg_stat_statements,auto_explain",
    "auto_explain.log_min_duration": "50",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_nested_statements": "on",
    "pg_stat_statements.track": "all",
}
_BUSY = "SELECT count(*) FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid()"
_SETTINGS = (
    *("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size"),
    *("max_connections", "random_page_cost", "jit"),
)


class BenchStack:
    """`django()` turns this process's Django to its stores."""

    def __init__(self) -> None:
        self.var_dir = Path(tempfile.mkdtemp(prefix="permeter-bench-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._postgres: EmbeddedPostgres | None = None
        self._django_is_up = False
        self._bare_threads: tuple[int, dict[int, float]] | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the process that everything of the stack descends from."""
        if self.process is None:
            raise RuntimeError("the stack has not been started")
        return self.process.pid

    def start(self) -> None:
        """Start the stack, and wait until it answers."""
        env = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
        env |= {
            "VAR_DIR": str(self.var_dir),
            "PORT": str(self.port),
            "PERMETER_QUICKSTART": "0",
            "PERMETER_WEB_PROCESSES": str(WEB_PROCESSES),
            "PERMETER_BLOCKING_THREADS": str(BLOCKING_THREADS),
            "LOG_LEVEL": "WARNING",
        }
        if pace.PROFILE:
            env["DATABASE_URL"] = self._watched_postgres()
        with (self.var_dir / "stack.log").open("wb") as log:
            command = [sys.executable, "-m", "licensing_site.stack", "run"]
            self.process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
        wait_for(f"{self.base_url}/readyz")

    def _watched_postgres(self) -> str:
        """The same PostgreSQL with libraries that watch it, under this process instead of the stack's."""
        sockets = socket_folder(self.var_dir, server_account())
        self._postgres = EmbeddedPostgres(self.var_dir, sockets=sockets, settings=POSTGRES_THAT_TELLS)
        self._postgres.start()
        return self._postgres.url

    def stop(self) -> None:
        """End it and remove its state."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
        if self._postgres is not None:
            self._postgres.stop()
            shutil.rmtree(self._postgres.sockets, ignore_errors=True)
        data = self.var_dir / "postgres"
        if data.is_symlink():
            shutil.rmtree(data.resolve(), ignore_errors=True)
        shutil.rmtree(self.var_dir, ignore_errors=True)

    def bare_django(self) -> AbstractContextManager[str]:
        """The bare view at its best number of threads, which is tried out the first time."""
        return serving(BARE_DJANGO, threads=self.bare_threads()[0])

    def bare_threads(self) -> tuple[int, dict[int, float]]:
        """The bare view's best number of threads, and requests a second for each that was tried.

        What another group of the same run has found is taken from it.
        """
        if self._bare_threads is None and (known := os.environ.get(THREADS_KNOWN)):
            self._bare_threads = int(known), {}
        if self._bare_threads is None:
            self._bare_threads = best_threads(BARE_DJANGO, Question, choices=(1, 4) if pace.QUICK else (1, 2, 4, 8))
        return self._bare_threads

    def views(self) -> AbstractContextManager[str]:
        """The same application on the same stores by WSGI alone, without the coalescing door."""
        return serving("licensing_site.wsgi:application", threads=BLOCKING_THREADS, path="/readyz")

    @contextmanager
    def no_tasks(self) -> Iterator[None]:
        """While the block runs no task is begun, and none is under way: what is timed is not done by a worker beside.

        Only the clock that begins tasks is stopped: a worker that was would keep its locks.
        """
        clocks = [each for each in psutil.Process(self.pid).children() if "licensing_site.beat" in each.cmdline()]
        for clock in clocks:
            clock.suspend()
        try:
            self._wait_for_idle_stores()
            yield
        finally:
            for clock in clocks:
                clock.resume()

    def _wait_for_idle_stores(self) -> None:
        """Until no session has had a transaction open for a second."""
        quiet_since = time.monotonic()
        with psycopg.connect(self.database_url(), autocommit=True) as connection:
            while time.monotonic() - quiet_since < 1:
                found = connection.execute(_BUSY).fetchone()
                if found and found[0]:
                    quiet_since = time.monotonic()
                time.sleep(0.05)

    def database_url(self, name: str | None = None) -> str:
        """Of the stack's own database, or of another one in the same PostgreSQL, which is made anew."""
        own = str(self._running()["database_url"])
        if name is None:
            return own
        with psycopg.connect(own, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return urlunsplit(urlsplit(own)._replace(path=f"/{name}"))

    def redis_url(self) -> str:
        """Of the stack's Valkey."""
        return str(self._running()["redis_url"])

    def django(self) -> None:
        """Set Django up in this process, on the stack's stores and with its secrets."""
        if self._django_is_up:
            return
        os.environ |= {
            "VAR_DIR": str(self.var_dir),
            "DATABASE_URL": self.database_url(),
            "REDIS_URL": self.redis_url(),
            "DJANGO_SETTINGS_MODULE": "licensing_site.settings",
            "LOG_LEVEL": "WARNING",
        }
        import django

        django.setup()
        self._django_is_up = True

    def settings(self) -> dict[str, Any]:
        """What is measured on: the machine, and settings that matter."""
        with psycopg.connect(self.database_url()) as connection:
            shown = {name: connection.execute(f"SHOW {name}").fetchone() for name in _SETTINGS}
        return {
            "machine": _machine(),
            "commit": _commit(),
            "python": sys.version.split()[0],
            "granian": {"workers": WEB_PROCESSES, "blocking_threads": BLOCKING_THREADS, "loop": "auto"},
            "postgresql": {name: row[0] for name, row in shown.items() if row},
            "load_client": client_name(),
        }

    def _running(self) -> dict[str, Any]:
        running: dict[str, Any] = json.loads((self.var_dir / "stack.json").read_text())
        return running


def _machine() -> dict[str, Any]:
    cpuinfo = Path("/proc/cpuinfo")
    described = cpuinfo.read_text() if cpuinfo.exists() else ""
    found = re.search(r"^model name\s*: (.+)$", described, re.MULTILINE)
    return {
        "cores": os.cpu_count(),
        "model": found[1] if found else platform.machine(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def _commit() -> str:
    """Of the checkout; nothing where it is none."""
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
