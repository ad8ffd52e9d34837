"""A thread of each server process that writes down when keys were last used, and hashes those anew that hang on an old
pepper: no call has to wait for that.
"""

from __future__ import annotations

import threading
import time

import structlog
from django.conf import settings
from django.db import Error, connection

from tenants.services.key_digests import write_digests
from tenants.services.key_use import write_seen

log = structlog.get_logger(__name__)

#: Seconds between two looks.
EVERY = 5.0


def start_key_use_writer() -> None:
    """Begin, but in tests: those write for themselves, and their database is theirs alone."""
    if settings.PERMETER_ENV != "test":
        threading.Thread(target=_run, name="key-use-writer", daemon=True).start()


def _run() -> None:
    while True:
        time.sleep(EVERY)
        write_once()


def write_once() -> None:
    """Write what was seen, and give the connection back. A store that is away is no reason to stop."""
    try:
        write_seen()
        write_digests()
    except Error as error:
        log.warning("key_use.not_written", error=type(error).__name__)
    finally:
        connection.close()
