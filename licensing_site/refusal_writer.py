"""A thread of each server process that tells Valkey how many calls were refused after the gate had let them pass.

It is known only when the decision is made, and the runaway guard has to know within seconds; no call waits for it.
"""

from __future__ import annotations

import threading
import time

import structlog
from django.conf import settings
from redis.exceptions import RedisError

from licenses.services.gate import write_refusals

log = structlog.get_logger(__name__)

#: Seconds between two looks.
EVERY = 1.0


def start_refusal_writer() -> None:
    """Begin, but in tests: those write for themselves."""
    if settings.PERMETER_ENV != "test":
        threading.Thread(target=_run, name="refusal-writer", daemon=True).start()


def _run() -> None:
    while True:
        time.sleep(EVERY)
        write_once()


def write_once() -> None:
    """Write what was noted. A store that is away is no reason to stop: it is kept for the next time."""
    try:
        write_refusals()
    except RedisError as error:
        log.warning("refusals.not_written", error=type(error).__name__)
