from __future__ import annotations

import os
import signal

import redis

from licensing_site.embedded import EmbeddedValkey


def client_of(server: EmbeddedValkey) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


def test_start__default_settings__nothing_is_evicted_and_nothing_is_saved(valkey_server: EmbeddedValkey) -> None:
    client = client_of(valkey_server)
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert client.config_get("save") == {"save": ""}
    assert client.config_get("appendonly") == {"appendonly": "no"}
    assert client.config_get("port") == {"port": "0"}


def test_restart__server_was_killed__is_another_run_and_empty(valkey_server: EmbeddedValkey) -> None:
    client = client_of(valkey_server)
    client.set("epoch", 7)
    before = client.info("server")["run_id"]
    os.kill(valkey_server.child.pid, signal.SIGKILL)

    valkey_server.restart()

    client = client_of(valkey_server)
    assert client.get("epoch") is None
    assert client.info("server")["run_id"] != before


def test_socket__of_a_running_server__is_its_owners_alone(valkey_server: EmbeddedValkey) -> None:
    assert valkey_server.socket.stat().st_mode & 0o777 == 0o700
