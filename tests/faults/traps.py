"""A process of its own that is killed with SIGKILL at a named place of the code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from urllib.parse import urlsplit

from django.db import connection

from licensing_site.environment import BASE_DIR

_TRAP = """
import os, signal, sys
from importlib import import_module

import django

django.setup()
from django.db import connection

name, function, moment = sys.argv[1:]
module = import_module(f"metering.services.{name}")
called = getattr(module, function)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def trapped(*arguments, **more):
    if moment == "before":
        die()
    result = called(*arguments, **more)
    if moment == "after":
        die()
    commit = connection._commit

    def at_commit():
        if moment == "before commit":
            die()
        commit()
        die()

    connection._commit = at_commit
    return result


setattr(module, function, trapped)
"""


def die_at(module: str, function: str, moment: str, work: str) -> None:
    """Do `work` on this test's database in a process that dies in `metering.services`, at this function.

    `moment` is "before" it is called, "after", or "before commit" or "after commit" of the transaction that follows.
    Fails where the process ends otherwise.
    """
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    done = subprocess.run(
        [sys.executable, "-c", _TRAP + work, module, function, moment],
        cwd=BASE_DIR,
        env={**os.environ, "DATABASE_URL": url, "PYTHONPATH": str(BASE_DIR)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, f"it did not get to {function}: {done.stderr[-2000:]}"
