"""Dimensions with a limited number of values: the first so many are kept, whatever comes later counts elsewhere.

What a dimension has had is remembered in each process: a value that was registered stays, so what is known needs no
look at the database; and once a dimension is full, neither does what is unknown.
"""

from collections.abc import Mapping
from threading import Lock
from typing import Final
from uuid import UUID

from cachetools import LRUCache
from django.db import connection, transaction

from common.ids import new_id
from metering.domain.dimensions import OTHER_VALUE
from metering.domain.terms import MeterTerms
from tenants.services.locks import sorted_lock_numbers

#: So many dimensions are remembered; the one that was not seen for longest goes first.
CAPACITY: Final = 10_000

_LOCK = "SELECT pg_advisory_xact_lock(number) FROM unnest(%s::bigint[]) AS wanted (number)"

# The workspace is the meter's own.
_VALUES = """
SELECT value FROM metering_dimensionvalue
WHERE tenant_id = (SELECT tenant_id FROM metering_meter WHERE id = %s) AND meter_id = %s AND dimension = %s
"""

_REGISTER = """
INSERT INTO metering_dimensionvalue (id, tenant_id, meter_id, dimension, value, created_at, updated_at)
SELECT %s, tenant_id, id, %s, %s, clock_timestamp(), clock_timestamp() FROM metering_meter WHERE id = %s
ON CONFLICT DO NOTHING
"""


#: What was read of each dimension and is committed.
_seen: LRUCache[tuple[UUID, str], frozenset[str]] = LRUCache(maxsize=CAPACITY)
_guard = Lock()


def limited(meter: MeterTerms, dimensions: Mapping[str, str], *, register: bool = True) -> Mapping[str, str]:
    """The dimensions under which a line counts: the very same, or with `__other__` for values that are too many.

    With `register` a new value takes its place for good, in a transaction of its own if none is open; without,
    nothing is written.
    """
    rules = meter.rules
    if rules is None:
        return dimensions
    found = dimensions
    for name, most in rules.max_values.items():
        value = dimensions.get(name)
        if value is not None and value != OTHER_VALUE and not _has_place(meter.id, name, value, most, register):
            found = {**found, name: OTHER_VALUE}
    return found


def forget_all() -> None:
    """Begin anew, as a process that has just started."""
    with _guard:
        _seen.clear()


def _has_place(meter_id: UUID, name: str, value: str, most: int, register: bool) -> bool:
    key = (meter_id, name)
    with _guard:
        known = _seen.get(key, frozenset())
    if value in known or len(known) >= most:
        return value in known
    with transaction.atomic(), connection.cursor() as cursor:
        if register:
            # One at a time for each meter: two that come together never take the last place twice.
            cursor.execute(_LOCK, [sorted_lock_numbers([meter_id])])
        cursor.execute(_VALUES, [meter_id, meter_id, name])
        found = frozenset(each for (each,) in cursor.fetchall())
        has_place = value in found or len(found) < most
        if register and has_place and value not in found:
            cursor.execute(_REGISTER, [new_id(), name, value, meter_id])
    # What is not committed yet may be rolled back, and is read once more.
    if not connection.in_atomic_block:
        with _guard:
            _seen[key] = _seen.get(key, frozenset()) | found
    return has_place
