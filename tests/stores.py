"""The PostgreSQL and the Valkey of a test run: real servers in a temporary `VAR_DIR`.

Each process that runs tests has its own, also with pytest-xdist: what one does to its servers (a transaction that is
left open holds back roll-ups, a full Valkey) is never seen by another. The process that only hands out tests has none.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from licensing_site.embedded import EmbeddedPostgres, EmbeddedValkey
from licensing_site.embedded.account import server_account
from licensing_site.embedded.places import socket_folder

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


def prepare_environment() -> TestStores:
    """Choose the addresses of this process's servers and point settings at them, before Django reads these."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "licensing_site.settings"
    stores = TestStores(make_var_dir())
    os.environ.update(
        SECRETS,
        PERMETER_ENV="test",
        VAR_DIR=str(stores.var_dir),
        DATABASE_URL=stores.postgres.url,
        REDIS_URL=stores.valkey.url,
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
