"""The process's one client of Valkey (or Redis): pooled, quick to give up, and aware of which server run it talks to.

A server that was restarted may have lost what it held. Every new connection therefore asks for the run id: who keeps
things in Valkey that must not go missing compares `current_run_id()` with the one under which they were written, and
treats another as cold.
"""

import os
import threading
from functools import lru_cache
from typing import Any, Final

import hiredis
import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

CONNECT_TIMEOUT: Final = 0.25
SOCKET_TIMEOUT: Final = 0.5
MAX_CONNECTIONS: Final = 128

_RUN_ID: Final = b"run_id:"
_run_ids: dict[str, str] = {}


def valkey() -> redis.Redis:
    """The client for `settings.REDIS_URL`; answers are bytes. Safe to share between threads.

    A connection that the server has closed is opened anew and the command repeated once; a server that does not answer
    in time is an error at once, since the callers have PostgreSQL to fall back to.
    """
    return _client(settings.REDIS_URL)


def ask_valkey(client: redis.Redis, command: tuple[str | bytes | int, ...]) -> Any:
    """The answer to one command of the hot path, on a connection that this thread keeps to itself.

    The client's own call costs three times as much: it takes a connection from the pool, looks whether it lives,
    retries and measures. Here a connection that the server has closed is noticed by its silence, opened anew, and
    the command repeated once. Raises redis.RedisError.
    """
    connection = _kept_connection(client)
    packed = [hiredis.pack_command(command)]  # type: ignore[arg-type] # whole numbers are packed, too
    try:
        return _exchange(connection, packed)
    except redis.ConnectionError:
        return _exchange(connection, packed)


def _exchange(connection: Any, packed: list[bytes]) -> Any:
    connection.send_packed_command(packed, check_health=False)
    return connection.read_response()


class _Kept(threading.local):
    """This thread's connections, by client; they close when the thread ends."""

    def __init__(self) -> None:
        self.connections: dict[redis.Redis, Any] = {}


_kept = _Kept()


def _kept_connection(client: redis.Redis) -> Any:
    connection = _kept.connections.get(client)
    if connection is None or connection.pid != os.getpid():
        pool = client.connection_pool
        connection = pool.connection_class(**pool.connection_kwargs)
        _kept.connections[client] = connection
    return connection


def current_run_id() -> str:
    """The run id that the newest connection found. Connects if there was none: redis' ConnectionError, TimeoutError."""
    url: str = settings.REDIS_URL
    if url not in _run_ids:
        _client(url).ping()
    return _run_ids[url]


@lru_cache(maxsize=8)
def _client(url: str) -> redis.Redis:
    def introduce(connection: Any) -> None:
        connection.on_connect()
        connection.send_command("INFO", "server")
        _run_ids[url] = _read_run_id(connection.read_response())

    # A Unix socket knows no keep-alive, and its connection class refuses the option.
    keepalive = {} if url.startswith("unix:") else {"socket_keepalive": True}
    return redis.Redis.from_url(
        url,
        **keepalive,
        protocol=2,
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=SOCKET_TIMEOUT,
        max_connections=MAX_CONNECTIONS,
        redis_connect_func=introduce,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )


def _read_run_id(info: bytes | str) -> str:
    raw = info.encode() if isinstance(info, str) else info
    for line in raw.splitlines():
        if line.startswith(_RUN_ID):
            return line.removeprefix(_RUN_ID).decode("ascii")
    message = "the server tells no run id"
    raise redis.ConnectionError(message)
