"""Whom PostgreSQL runs as. It refuses to run as root, so root hands it to an ordinary user."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from licensing_site.embedded.errors import EmbeddedError

#: Tried in this order; the first that exists is taken. `PERMETER_POSTGRES_USER` names another.
CANDIDATES = ("permeter", "postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """An ordinary user that root starts a server as."""

    name: str
    uid: int
    gid: int

    def popen_arguments(self) -> dict[str, Any]:
        """What `subprocess` needs to start a program as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, folder: Path) -> None:
        """Give a folder and everything in it to this user."""
        os.chown(folder, self.uid, self.gid)
        for parent, folders, files in os.walk(folder):
            for name in (*folders, *files):
                os.chown(Path(parent, name), self.uid, self.gid, follow_symlinks=False)

    def may_enter(self, folder: Path) -> bool:
        """Whether this user gets to `folder`: every folder on the way lets it pass."""
        return all(self._may_pass(step) for step in (folder, *folder.parents))

    def _may_pass(self, folder: Path) -> bool:
        found = folder.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & stat.S_IXUSR)
        if found.st_gid == self.gid:
            return bool(found.st_mode & stat.S_IXGRP)
        return bool(found.st_mode & stat.S_IXOTH)


def server_account() -> Account | None:
    """The user for PostgreSQL; None where this process is an ordinary user itself.

    Raises `EmbeddedError` where root finds no ordinary user and cannot make one.
    """
    if os.geteuid() != 0:
        return None
    wanted = os.environ.get("PERMETER_POSTGRES_USER")
    for name in (wanted,) if wanted else CANDIDATES:
        with contextlib.suppress(KeyError):
            return _account(name)
    if not wanted and (useradd := shutil.which("useradd")):
        subprocess.run([useradd, "--system", "--no-create-home", CANDIDATES[0]], check=False, capture_output=True)
        with contextlib.suppress(KeyError):
            return _account(CANDIDATES[0])
    raise EmbeddedError(
        "PostgreSQL does not run as root, and no ordinary user was found for it. Run Permeter as an ordinary user, "
        "or name one with PERMETER_POSTGRES_USER."
    )


def _account(name: str) -> Account:
    entry = pwd.getpwnam(name)
    if entry.pw_uid == 0:
        raise KeyError(name)
    return Account(name, entry.pw_uid, entry.pw_gid)
