"""When a key was last used, without a write on every call.

A call only leaves word that it saw a key (`saw_key`); a thread of the server writes that down beside the calls
(`write_seen`). A process notes a key at most once a minute, and the row is written only if no other process has within
that minute: at most one small update per key and minute, whatever the load. A row that somebody holds is left alone.
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
_seen: dict[type[OpaqueKey], set[UUID]] = {}


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


def saw_key(model: type[OpaqueKey], key_id: UUID) -> None:
    """Leave word that this key was used just now. Costs no query, and holds each key once."""
    _seen.setdefault(model, set()).add(key_id)


def write_seen() -> int:
    """Write down what was seen since the last time; how many rows were written."""
    written = 0
    for model in list(_seen):
        # What another thread adds to the old set just now is lost; the key's next use is not.
        written += note_uses(model, _seen.pop(model).copy())
    return written


def forget_noted() -> None:
    """Let the next use be written whenever the last one was."""
    with _lock:
        _noted.clear()
