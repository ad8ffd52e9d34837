"""A connection that gives up a silent database: a server that is stopped or cut off must not hold a thread for ever."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus


class BoundedConnection(psycopg.Connection[Any]):
    """Closes itself, with a ConnectionTimeout, when one answer of the server takes longer than `patience` seconds.

    A time-out on the server's side (`statement_timeout`) would not help where it is the server that stands still. What
    the server still makes of the statement is not known then, as with any connection that breaks.
    """

    patience = 10.0

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """Run one exchange with the server to its end. Raises OperationalError when that takes too long."""
        try:
            return super().wait(gen, interval=interval, timeout=self.patience if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
            # Its answer is still to come: whoever used this connection next would read it as theirs.
            self.pgconn.finish()
            raise psycopg.errors.ConnectionTimeout("The database did not answer in time.") from error


def bounded_connections(patience: float) -> type[BoundedConnection]:
    """The class of connections that wait for so many seconds."""
    return type("BoundedConnection", (BoundedConnection,), {"patience": patience})
