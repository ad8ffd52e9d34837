"""How long a batch waits for locks that somebody else holds, where others wait for the batch.

A thread that serves many callers would rather do the others first: it says so with `short_patience`, and is told by
`Busy` that nothing was done, instead of waiting longer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError
from psycopg.errors import LockNotAvailable


class Busy(Exception):
    """Somebody holds what this batch needs for longer than it may wait."""


_thread = threading.local()


@contextmanager
def short_patience(milliseconds: int) -> Iterator[None]:
    """Within the block, this thread's batches wait so long for a lock and no longer. Raises Busy."""
    _thread.milliseconds = milliseconds
    try:
        yield
    except OperationalError as error:
        if is_impatience(error):
            raise Busy from error
        raise
    finally:
        _thread.milliseconds = None


def lock_timeout() -> int | None:
    """In milliseconds; None for as long as the server lets anybody wait."""
    milliseconds: int | None = getattr(_thread, "milliseconds", None)
    return milliseconds


def is_impatience(error: Exception) -> bool:
    """Whether a lock was waited for until patience ran out."""
    return isinstance(error.__cause__, LockNotAvailable)
