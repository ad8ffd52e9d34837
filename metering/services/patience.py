"""How long a batch waits for locks that somebody else holds, where others wait for the batch.

A thread that serves many callers would rather do the others first: it says so with `short_patience`, and the ledger
raises `Busy` instead of waiting longer. Nothing was done then.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Busy(Exception):
    """Somebody holds what this batch needs for longer than it may wait."""


_thread = threading.local()


@contextmanager
def short_patience(milliseconds: int) -> Iterator[None]:
    """Within the block, this thread's batches wait so long for a lock and no longer."""
    _thread.milliseconds = milliseconds
    try:
        yield
    finally:
        _thread.milliseconds = None


def lock_timeout() -> int | None:
    """In milliseconds; None for as long as the server lets anybody wait."""
    milliseconds: int | None = getattr(_thread, "milliseconds", None)
    return milliseconds
