"""What every stack that starts from nothing makes first, made once per test run and copied.

`fill(var_dir)` puts into an empty `VAR_DIR` PostgreSQL's data folder with every migration applied and, with `demo`, all
that `prepare_stack` leaves there: the demo vendor and how to get in. The programs of a real start make it; the start
that follows does the same again and finds it done. A test that is about a start from nothing takes
`LiveStack(from_nothing=True)`.

The templates of a run lie in one folder, which the process that began the run makes and removes. Its workers inherit
the address, and the first that needs a template makes it while the others wait at its lock.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from licensing_site.embedded import EmbeddedPostgres, EmbeddedValkey
from licensing_site.embedded.account import server_account
from licensing_site.embedded.places import data_folder, socket_folder
from licensing_site.environment import BASE_DIR
from tests.stores import SECRETS, make_var_dir, remove_var_dir

_FOLDER = "PERMETER_TEST_TEMPLATES"
_DONE = "done"
#: What the demo leaves in a `VAR_DIR` besides the database: how to get in.
_KEYS = "quickstart.json"


def open_templates() -> bool:
    """Choose the folder of this run's templates; whether that was up to this process, which then removes it."""
    if _FOLDER in os.environ:
        return False
    os.environ[_FOLDER] = str(make_var_dir())
    return True


def remove_templates() -> None:
    folder = Path(os.environ.pop(_FOLDER))
    for template in folder.iterdir():
        if template.is_dir():
            remove_var_dir(template)
    shutil.rmtree(folder, ignore_errors=True)


def fill(var_dir: Path, *, demo: bool) -> None:
    """Put a database into a `VAR_DIR` that has none yet."""
    _copy(_template(demo=demo), var_dir)


def _template(*, demo: bool) -> Path:
    folder = Path(os.environ[_FOLDER])
    template = folder / ("demo" if demo else "migrated")
    with _locked(folder / f"{template.name}.lock"):
        if not (template / _DONE).exists():
            remove_var_dir(template)  # whoever began it was cut short
            template.mkdir(mode=0o711)
            if demo:
                _copy(_template(demo=False), template)
            _prepare(template, demo=demo)
            (template / _DONE).touch()
    return template


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _prepare(template: Path, *, demo: bool) -> None:
    """Migrate, or prepare it all, with servers of the template's own, which are then ended in good order."""
    sockets = socket_folder(template, server_account())
    postgres = EmbeddedPostgres(template, sockets=sockets)
    valkey = EmbeddedValkey(template, sockets=sockets)
    try:
        postgres.start()
        valkey.start()
        prepared = subprocess.run(
            [sys.executable, BASE_DIR / "manage.py", *(["prepare_stack"] if demo else ["migrate", "--verbosity=0"])],
            cwd=BASE_DIR,
            env={
                **os.environ,
                **SECRETS,
                "VAR_DIR": str(template),
                "DATABASE_URL": postgres.url,
                "REDIS_URL": valkey.url,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if prepared.returncode != 0:
            raise RuntimeError(f"the database was not prepared:\n{prepared.stdout}{prepared.stderr}")
    finally:
        valkey.stop()
        postgres.stop()
        shutil.rmtree(sockets, ignore_errors=True)


def _copy(template: Path, var_dir: Path) -> None:
    account = server_account()
    target = data_folder(var_dir, account)
    # Python's own copying would make root the owner of what belongs to PostgreSQL's user.
    subprocess.run(["cp", "-a", data_folder(template, account), target], check=True)
    if (template / _KEYS).exists():
        shutil.copy2(template / _KEYS, var_dir / _KEYS)
