"""A stack for measuring: the one that `make run` starts, without demo data, and a bare Django view beside it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from licensing_site.supervisor import BLOCKING_THREADS

ROOT = Path(__file__).resolve().parent.parent
WEB_PROCESSES = 2
#: Of the bare view, at its best setting, and of whatever else is served by WSGI.
GRANIAN = (
    *("--interface", "wsgi", "--host", "127.0.0.1", "--no-ws", "--workers", str(WEB_PROCESSES)),
    *("--blocking-threads", str(BLOCKING_THREADS), "--backpressure", "1024", "--log-level", "warning"),
)


class BenchStack:
    """Starts on free ports with a temporary VAR_DIR; `django()` turns this process's Django to its stores."""

    def __init__(self) -> None:
        self.var_dir = Path(tempfile.mkdtemp(prefix="permeter-bench-"))
        self.port, self.bare_port = _free_port(), _free_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        self._django_is_up = False

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def bare_url(self) -> str:
        return f"http://127.0.0.1:{self.bare_port}/"

    def start(self) -> None:
        """Start the stack and the bare view, and wait until both answer."""
        env = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
        env |= {
            "VAR_DIR": str(self.var_dir),
            "PORT": str(self.port),
            "PERMETER_QUICKSTART": "0",
            "PERMETER_WEB_PROCESSES": str(WEB_PROCESSES),
            "PERMETER_BLOCKING_THREADS": str(BLOCKING_THREADS),
            "LOG_LEVEL": "WARNING",
        }
        self._spawn([sys.executable, "-m", "licensing_site.stack", "run"], env)
        bare = [sys.executable, "-m", "granian", "benchmarks.bare_django:application", *GRANIAN]
        self._spawn([*bare, "--port", str(self.bare_port)], env)
        _wait_for(f"{self.base_url}/readyz")
        _wait_for(self.bare_url)

    def stop(self) -> None:
        """End both and remove their state."""
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            process.wait(60)
        shutil.rmtree(self.var_dir, ignore_errors=True)

    @contextmanager
    def views(self) -> Iterator[str]:
        """The same application on the same stores by WSGI alone, without the coalescing door → its base URL."""
        port = _free_port()
        env = {**os.environ, "PORT": str(self.port), "PERMETER_WEB_PROCESSES": str(WEB_PROCESSES)}
        command = [sys.executable, "-m", "granian", "licensing_site.wsgi:application", *GRANIAN, "--port", str(port)]
        server = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(f"http://127.0.0.1:{port}/readyz")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(60)

    def supervisor(self) -> subprocess.Popen[bytes]:
        """The process that everything of the stack descends from."""
        return self.processes[0]

    def django(self) -> None:
        """Set Django up in this process, on the stack's stores and with its secrets."""
        if self._django_is_up:
            return
        running = json.loads((self.var_dir / "stack.json").read_text())
        os.environ |= {
            "VAR_DIR": str(self.var_dir),
            "DATABASE_URL": running["database_url"],
            "REDIS_URL": running["redis_url"],
            "DJANGO_SETTINGS_MODULE": "licensing_site.settings",
            "LOG_LEVEL": "WARNING",
        }
        import django

        django.setup()
        self._django_is_up = True

    def settings(self) -> dict[str, Any]:
        """What was measured on: Granian's and PostgreSQL's settings that matter."""
        running = json.loads((self.var_dir / "stack.json").read_text())
        names = ("server_version", "fsync", "synchronous_commit", "shared_buffers", "max_connections")
        with psycopg.connect(running["database_url"]) as connection:
            shown = {name: connection.execute(f"SHOW {name}").fetchone() for name in names}
        return {
            "granian": {"workers": WEB_PROCESSES, "blocking_threads": BLOCKING_THREADS},
            "postgresql": {name: row[0] for name, row in shown.items() if row},
        }

    def _spawn(self, command: list[str], env: dict[str, str]) -> None:
        log = (self.var_dir / f"process-{len(self.processes)}.log").open("wb")
        self.processes.append(subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str, within: float = 120) -> None:
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
    raise TimeoutError(f"{url} does not answer")
