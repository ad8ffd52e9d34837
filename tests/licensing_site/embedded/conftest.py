from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from licensing_site.embedded import EmbeddedPostgres, EmbeddedValkey
from licensing_site.embedded.account import server_account
from licensing_site.embedded.places import socket_folder


@pytest.fixture
def sockets(var_dir: Path) -> Iterator[Path]:
    folder = socket_folder(var_dir, server_account())
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_postgres(var_dir: Path, sockets: Path) -> Iterator[Callable[[], EmbeddedPostgres]]:
    """Each call is another start on the same `VAR_DIR`; all are ended with the test."""
    made: list[EmbeddedPostgres] = []

    def make() -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(var_dir, sockets=sockets))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def valkey_server(var_dir: Path, sockets: Path) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(var_dir, sockets=sockets)
    server.start()
    yield server
    server.stop()
