"""Django's PostgreSQL back end, for connections that come from a pool."""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import base
from django.utils.asyncio import async_unsafe

from common.sockets import is_readable


class DatabaseWrapper(base.DatabaseWrapper):
    """Passes over pooled connections that the server has closed, so that a restart of it costs no request afterwards.

    `CONN_HEALTH_CHECKS` would ask the server before every request. A connection that idles has nothing to read unless
    the server has said goodbye, and to look at the socket costs a microsecond.
    """

    @async_unsafe
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        pool: Any = self.pool
        while pool is not None and is_readable(connection.fileno()):
            connection.close()
            pool.putconn(connection)
            connection = super().get_new_connection(conn_params)
        return connection
