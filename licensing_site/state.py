"""The files of a stack under `VAR_DIR`: its lock, its generated secrets, its addresses."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import secrets
from pathlib import Path
from typing import Any

from licensing_site.embedded import EmbeddedError
from licensing_site.embedded.places import private_folder
from licensing_site.environment import read_json


class StackState:
    """What stands in one `VAR_DIR`. Files with secrets or addresses can be read by their owner alone."""

    def __init__(self, var_dir: Path) -> None:
        self.var_dir = var_dir
        self.secrets_file = var_dir / "secrets.json"
        self.stack_file = var_dir / "stack.json"
        self.quickstart_file = var_dir / "quickstart.json"
        self._lock: int | None = None

    def lock(self) -> None:
        """Take this `VAR_DIR` for as long as the process lives; the kernel gives it back however the process ends.

        Raises `EmbeddedError` where another stack runs on it.
        """
        try:
            self.var_dir.mkdir(parents=True, exist_ok=True)
            private_folder(self.var_dir / "log")
            self._lock = os.open(self.var_dir / "stack.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EmbeddedError(f"VAR_DIR {self.var_dir} cannot be written: {error}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            running = self.running()
            where = f" (process {running['pid']}, {running['base_url']})" if running else ""
            raise EmbeddedError(
                f"A stack already runs on {self.var_dir}{where}. Use that one, stop it, or start this one with another "
                f"VAR_DIR and PORT."
            ) from error

    def running(self) -> dict[str, Any]:
        """The addresses of the stack that runs here, as far as its file says so; empty when there is none."""
        return read_json(self.stack_file)

    def publish(self, **addresses: Any) -> None:
        """Write the addresses, so that commands in other shells find the stack."""
        write_private(self.stack_file, {"pid": os.getpid(), **addresses})

    def withdraw(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.stack_file.unlink()

    def ensure_secrets(self) -> None:
        """Generate what the quickstart signs, hashes and encrypts with, once for the life of this `VAR_DIR`."""
        have = read_json(self.secrets_file)
        if self.secrets_file.exists() and not have:
            raise EmbeddedError(
                f"{self.secrets_file} cannot be read. Put it back, or move {self.var_dir} away to start afresh: "
                f"without its secrets the keys in the database are of no use."
            )
        wanted = {
            "secret_key": secrets.token_urlsafe(48),
            "key_peppers": f"1={secrets.token_urlsafe(32)}",
            "encryption_keys": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        }
        if not wanted.keys() <= have.keys():
            write_private(self.secrets_file, {**wanted, **have})

    def put_secret(self, key: str, value: str) -> None:
        """Change one of the generated secrets; processes that run keep what they have."""
        write_private(self.secrets_file, {**read_json(self.secrets_file), key: value})

    def runs_on_older_secrets(self) -> bool:
        """Whether a stack runs here that began before its secrets were last changed."""
        if not (self.stack_file.exists() and self.secrets_file.exists()):
            return False
        return self.stack_file.stat().st_mtime_ns < self.secrets_file.stat().st_mtime_ns


def write_private(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file that only its owner can read, whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
