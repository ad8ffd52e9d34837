"""The PostgreSQL and the Valkey of a test run: real servers in a temporary `VAR_DIR`, one of each for all workers.

The main process chooses the addresses before Django reads its settings, starts the servers when the run begins and
removes everything at the end. pytest-xdist's workers inherit the addresses; each has a database of its own
(pytest-django names it after the worker) and a numbered Valkey database of its own.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from django.conf import settings

from licensing_site.embedded import EmbeddedPostgres, EmbeddedValkey
from licensing_site.embedded.account import server_account
from licensing_site.embedded.places import socket_folder
from licensing_site.embedded.valkey import DATABASES

#: Fixed, so that servers which tests start share keys with the test's own process.
SECRETS = {
    "SECRET_KEY": "only-for-tests-0123456789-abcdefghijklmnopqrstuvwxyz-0123456789",
    "PERMETER_KEY_PEPPERS": "1=only-for-tests-pepper",
    "PERMETER_ENCRYPTION_KEYS": "b25seS1mb3ItdGVzdHMtMDEyMzQ1Njc4OWFiY2RlZmc=",
}


class TestStores:
    """Both servers of this test run."""

    __test__ = False

    def __init__(self, var_dir: Path) -> None:
        self.var_dir = var_dir
        self.sockets = socket_folder(var_dir, server_account())
        self.postgres = EmbeddedPostgres(var_dir, sockets=self.sockets)
        self.valkey = EmbeddedValkey(var_dir, sockets=self.sockets)

    def start(self) -> None:
        self.postgres.start()
        self.valkey.start()

    def stop(self) -> None:
        self.valkey.stop()
        self.postgres.stop()
        shutil.rmtree(self.sockets, ignore_errors=True)
        remove_var_dir(self.var_dir)


def prepare_environment() -> TestStores | None:
    """Point settings at the servers of this run; None in a worker, whose main process runs them."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "licensing_site.settings"
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker:
        url = os.environ["PERMETER_TEST_VALKEY"]
        os.environ["REDIS_URL"] = f"{url}?db={1 + int(worker.removeprefix('gw')) % (DATABASES - 1)}"
        if settings.configured:
            # A worker inherits the name of the settings, so pytest-django has read them before this conftest.
            settings.REDIS_URL = settings.CACHES["default"]["LOCATION"] = os.environ["REDIS_URL"]
        return None
    stores = TestStores(make_var_dir())
    os.environ.update(
        SECRETS,
        PERMETER_ENV="test",
        VAR_DIR=str(stores.var_dir),
        DATABASE_URL=stores.postgres.url,
        REDIS_URL=stores.valkey.url,
        PERMETER_TEST_VALKEY=stores.valkey.url.partition("?")[0],
    )
    return stores


def make_var_dir() -> Path:
    """A temporary `VAR_DIR` that PostgreSQL's user can enter, with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="pmt-"))
    folder.chmod(0o711)
    return folder


def remove_var_dir(var_dir: Path) -> None:
    """Remove a temporary `VAR_DIR` with the data folder it leads to, wherever that lies."""
    data = var_dir / "postgres"
    if data.is_symlink():
        shutil.rmtree(data.resolve(), ignore_errors=True)
    shutil.rmtree(var_dir, ignore_errors=True)
