from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from licensing_site.embedded import EmbeddedPostgres
from licensing_site.embedded.account import Account, server_account
from licensing_site.embedded.places import LONGEST_SOCKET_NAME, SOCKET_PATH_LIMIT, data_folder, socket_folder
from tests.stores import remove_var_dir

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has no other user to run the server as")


@pytest.fixture
def private_dir() -> Iterator[Path]:
    """A `VAR_DIR` inside a folder that nobody but its owner can enter, as a home of root's is."""
    top = Path(tempfile.mkdtemp(prefix="pmt-"))
    folder = top / "var"
    folder.mkdir()
    yield folder
    remove_var_dir(folder)
    shutil.rmtree(top)


@as_root
def test_data_folder__server_user_cannot_enter_var_dir__data_lies_elsewhere_behind_a_link(private_dir: Path) -> None:
    account = server_account()
    assert account is not None

    first = data_folder(private_dir, account)
    second = data_folder(private_dir, account)

    assert first == second == (private_dir / "postgres").resolve()
    assert not first.is_relative_to(private_dir)
    assert account.may_enter(first.parent)


@as_root
def test_start__server_user_cannot_enter_var_dir__works_and_is_removed_with_it(private_dir: Path) -> None:
    sockets = socket_folder(private_dir, server_account())
    server = EmbeddedPostgres(private_dir, sockets=sockets)
    server.start()
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    server.stop()
    shutil.rmtree(sockets)

    remove_var_dir(private_dir)

    assert not server.data.exists()


def test_socket_folder__long_var_dir__is_short_and_private(var_dir: Path) -> None:
    deep = var_dir / ("long-name-" * 10)
    deep.mkdir()
    deep.chmod(0o711)

    folder = socket_folder(deep, server_account())

    assert len(os.fsencode(folder)) + len(LONGEST_SOCKET_NAME) <= SOCKET_PATH_LIMIT
    assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.is_relative_to(deep)
    shutil.rmtree(folder)


def test_socket_folder__short_var_dir__lies_in_it(var_dir: Path) -> None:
    assert socket_folder(var_dir, server_account()) == var_dir / "run"


def test_may_enter__closed_parent__is_false(private_dir: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    account = Account("nobody", nobody.pw_uid, nobody.pw_gid)
    assert account.may_enter(Path("/"))
    assert not account.may_enter(private_dir)
