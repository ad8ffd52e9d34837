"""When a key was last used, without a write on every call.

A process notes a key at most once a minute, and the row is written only if no other process has within that
minute: at most one small update per key and minute, whatever the load. A row that somebody holds is left alone.
"""

import threading
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from cachetools import TTLCache
from django.db import transaction
from django.db.models import Q

from common.clock import real_clock
from tenants.models import OpaqueKey, TenantQuerySet

RESOLUTION = timedelta(minutes=1)

_noted: TTLCache[UUID, bool] = TTLCache(maxsize=50_000, ttl=RESOLUTION.total_seconds())
_lock = threading.Lock()


def note_use(key: OpaqueKey) -> bool:
    """Note that `key` is in use; whether that was written. Call it after the answer's own transaction."""
    return note_uses(type(key), [key.id]) == 1


def note_uses(model: type[OpaqueKey], key_ids: Iterable[UUID]) -> int:
    """Note keys of one kind that are in use, in one statement; how many rows were written."""
    with _lock:
        fresh = [key_id for key_id in dict.fromkeys(key_ids) if key_id not in _noted]
        for key_id in fresh:
            _noted[key_id] = True
    if not fresh:
        return 0
    now = real_clock().now()
    stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - RESOLUTION)
    manager: TenantQuerySet[Any] = model._default_manager.all()  # type: ignore[assignment]
    with transaction.atomic():
        free = manager.filter(stale, pk__in=fresh).select_for_update(skip_locked=True, no_key=True)
        return manager.filter(pk__in=free.values("pk")).update(last_used_at=now)


def forget_noted() -> None:
    """Let the next use be written whenever the last one was."""
    with _lock:
        _noted.clear()
