"""Runs the whole stack as children of one process, starts again what dies, and ends all of it together."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from licensing_site.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedValkey
from licensing_site.embedded.account import server_account
from licensing_site.embedded.places import socket_folder
from licensing_site.embedded.processes import Child
from licensing_site.environment import BASE_DIR
from licensing_site.state import StackState

READY_TIMEOUT = 90.0
STOP_TIMEOUT = 15.0
#: A log that has grown past this is set aside at the next start.
LOG_LIMIT = 20_000_000
#: A program that dies this soon is started again with growing pauses, up to the longest.
SHORT_LIFE = 5.0
LONGEST_PAUSE = 10.0


#: Threads of a web process. Four to eight measured best: more of them meet at the interpreter's lock.
BLOCKING_THREADS = 4


@dataclass(frozen=True, slots=True)
class StackOptions:
    """How large the stack is and where it listens."""

    var_dir: Path
    host: str = "127.0.0.1"
    port: int = 8000
    web_processes: int = 2
    blocking_threads: int = BLOCKING_THREADS
    worker_threads: int = 2
    quickstart: bool = True

    @property
    def base_url(self) -> str:
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 - only compared
        return f"http://{shown}:{self.port}"


@dataclass(slots=True)
class Watched:
    """A child and what starts it again."""

    child: Child
    again: Callable[[], None]
    started: float = field(default_factory=time.monotonic)
    pause: float = 0.0
    due: float | None = None


class Supervisor:
    """Brings the stack up in order, watches it, and takes it down in the opposite order."""

    def __init__(self, options: StackOptions, *, say: Callable[[str], None]) -> None:
        self.options = options
        self.say = say
        self.state = StackState(options.var_dir)
        self.env: dict[str, str] = {}
        self.sockets: Path | None = None
        self.watched: list[Watched] = []

    def start(self) -> None:
        """Everything up to the moment `/readyz` answers 200. Raises `EmbeddedError` with the way out."""
        self.state.lock()
        self._refuse_taken_port()
        self._remove_old_sockets()
        self._turn_logs()
        self.state.ensure_secrets()
        database_url, redis_url = self._start_stores()
        self.env = {
            **os.environ,
            "VAR_DIR": str(self.options.var_dir),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "PORT": str(self.options.port),
            "BASE_URL": os.environ.get("BASE_URL") or self.options.base_url,
            "PERMETER_WEB_PROCESSES": str(self.options.web_processes),
            "PERMETER_WEB_THREADS": str(self.options.blocking_threads),
            "PYTHONUNBUFFERED": "1",
        }
        self.state.publish(
            base_url=self.env["BASE_URL"],
            port=self.options.port,
            database_url=database_url,
            redis_url=redis_url,
            sockets=str(self.sockets or ""),
        )
        self.say("bringing the database up to date" + (" and the demo vendor in" if self.options.quickstart else ""))
        self._manage("prepare_stack", *([] if self.options.quickstart else ["--no-demo"]))
        for child in self._programs():
            child.start()
            self.watched.append(Watched(child, child.start))
            if child.name == "web":
                self._wait_until_ready(child)  # first, so that nothing else delays it

    def watch(self) -> None:
        """One look at every child: what has ended is started again, sooner the longer it had lived."""
        for watched in self.watched:
            if watched.due is None and watched.child.is_running():
                continue
            now = time.monotonic()
            if watched.due is None:
                self._plan_restart(watched, now)
            if watched.due is not None and now >= watched.due:
                self._start_again(watched)

    def stop(self) -> None:
        """End all: the doors first, the stores last, so that nothing that was accepted is cut off."""
        programs = [w for w in self.watched if w.child.name not in {"postgres", "valkey"}]
        for watched in programs:
            if watched.child.is_running():
                os.kill(watched.child.pid, watched.child.stop_signal)
        for watched in (*programs, *reversed([w for w in self.watched if w not in programs])):
            watched.child.stop(within=STOP_TIMEOUT)
        if self.sockets is not None:
            shutil.rmtree(self.sockets, ignore_errors=True)
        if self.env:
            self.state.withdraw()

    def _refuse_taken_port(self) -> None:
        # A stack that was killed may need a moment until its last process has let go of the port.
        end = time.monotonic() + (5 if self.state.running() else 0)
        family = socket.AF_INET6 if ":" in self.options.host else socket.AF_INET
        while True:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((self.options.host, self.options.port))
                    return
                except (OSError, OverflowError) as error:
                    if time.monotonic() > end:
                        raise EmbeddedError(
                            f"Port {self.options.port} on {self.options.host} cannot be used ({error}). "
                            f"Choose another: make run PORT={self.options.port % 60000 + 10}"
                        ) from error
            time.sleep(0.1)

    def _remove_old_sockets(self) -> None:
        """A killed stack leaves its folder of sockets behind; nothing listens there any more."""
        old = self.state.running().get("sockets")
        if old and Path(old).name.startswith("permeter-"):
            shutil.rmtree(old, ignore_errors=True)

    def _turn_logs(self) -> None:
        for log in (self.options.var_dir / "log").glob("*.log"):
            if log.stat().st_size > LOG_LIMIT:
                log.rename(log.with_suffix(".log.1"))

    def _start_stores(self) -> tuple[str, str]:
        database_url, redis_url = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
        if not (database_url and redis_url):
            self.sockets = socket_folder(self.options.var_dir, server_account())
        if not database_url:
            database_url = self._start_store(EmbeddedPostgres(self.options.var_dir, sockets=self._sockets()))
        if not redis_url:
            redis_url = self._start_store(EmbeddedValkey(self.options.var_dir, sockets=self._sockets()))
        return database_url, redis_url

    def _sockets(self) -> Path:
        if self.sockets is None:
            raise RuntimeError("no folder for sockets yet")
        return self.sockets

    def _start_store(self, store: EmbeddedPostgres | EmbeddedValkey) -> str:
        self.watched.append(Watched(store.child, store.restart))
        store.start()
        for note in store.notes:
            self.say(note)
        self.say(f"{store.child.name} runs (process {store.child.pid})")
        return store.url

    def _manage(self, *command: str) -> None:
        child = Child(
            command[0],
            [sys.executable, BASE_DIR / "manage.py", *command],
            log_file=self.options.var_dir / "log" / "setup.log",
            env=self.env,
            cwd=BASE_DIR,
        )
        child.start()
        try:
            if child.process is not None and child.process.wait() != 0:
                raise EmbeddedError(
                    f"`manage.py {command[0]}` failed:\n{child.last_lines(20)}\n(log: {child.log_file})"
                )
        finally:
            child.stop(within=5)

    def _programs(self) -> list[Child]:
        celery = [sys.executable, "-m", "celery", "--app"]
        commands: dict[str, list[str]] = {
            "web": [
                *(sys.executable, "-m", "granian", "licensing_site.asgi:application", "--interface", "asgi"),
                *("--host", self.options.host, "--port", str(self.options.port), "--no-ws"),
                *("--workers", str(self.options.web_processes)),
                # Below the number of connections it would starve whole connections, not slow all of them down.
                *("--backpressure", "1024"),
                *("--respawn-failed-workers", "--respawn-interval", "0.1"),
                *("--workers-kill-timeout", "4"),
                *("--log-level", "warning"),
            ],
            "worker": [
                *(*celery, "licensing_site", "worker", "--loglevel", "WARNING"),
                # The tasks wait for PostgreSQL most of the time: threads of one process take a third of the memory.
                *("--pool", "threads", "--concurrency", str(self.options.worker_threads)),
                *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            ],
            "beat": [*celery, "licensing_site.beat", "beat", "--loglevel", "WARNING", "--pidfile="],
        }
        logs = self.options.var_dir / "log"
        return [
            Child(name, command, log_file=logs / f"{name}.log", env=self.env, cwd=BASE_DIR)
            for name, command in commands.items()
        ]

    def _wait_until_ready(self, web: Child) -> None:
        end = time.monotonic() + READY_TIMEOUT
        host = "[::1]" if ":" in self.options.host else "127.0.0.1"
        while not _answers(f"http://{host}:{self.options.port}/readyz"):
            if not web.is_running():
                raise EmbeddedError(f"The web server ended while starting:\n{web.last_lines(20)}")
            if time.monotonic() > end:
                raise EmbeddedError(f"/readyz does not answer 200 after {READY_TIMEOUT:.0f} s:\n{web.last_lines(20)}")
            time.sleep(0.1)

    def _plan_restart(self, watched: Watched, now: float) -> None:
        lived = now - watched.started
        watched.pause = min(LONGEST_PAUSE, max(0.5, watched.pause * 2)) if lived < SHORT_LIFE else 0.0
        watched.due = now + watched.pause
        code = watched.child.exit_code()
        how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"status {code}"
        later = f" in {watched.pause:.1f} s" if watched.pause else ""
        self.say(f"{watched.child.name} ended ({how}); starting it again{later} (log: {watched.child.log_file})")

    def _start_again(self, watched: Watched) -> None:
        watched.child.kill_group()
        watched.started = time.monotonic()
        watched.due = None
        try:
            watched.again()
        except (EmbeddedError, OSError, subprocess.SubprocessError) as error:
            self.say(f"{watched.child.name} did not start: {error}")
        else:
            self.say(f"{watched.child.name} runs again (process {watched.child.pid})")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own address
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False
