"""Holds that ran out: what they still reserve is given back, and their end is made known.

Nothing waits for this: the ledger and every read leave expired lines out by themselves. Locks are taken in the
ledger's order, balances before holds and their lines, so the two never wait for each other in a circle.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from common.clock import real_clock
from common.ids import Prefix, encode_id
from metering.domain.numbers import EXACT, ZERO
from metering.models import Hold
from metering.services.array_literals import numbers, uuids
from tenants.models import Tenant
from tenants.selectors.workspaces import clock_offset_of
from tenants.services.each_workspace import EachWorkspace
from tenants.services.outbox import OutgoingEvent, emit_events

#: Holds in one transaction.
CHUNK = 200

_DUE = """
SELECT id FROM metering_hold WHERE status = 'open' AND expires_at <= %(now)s
    AND NOT tenant_id = ANY(%(moved)s)
ORDER BY expires_at LIMIT %(chunk)s
"""

_CONCERNED = """
SELECT DISTINCT tenant_id FROM metering_hold WHERE status = 'open' AND expires_at <= %(now)s
    AND NOT tenant_id = ANY(%(moved)s)
"""

_DUE_IN = """
SELECT id FROM metering_hold WHERE status = 'open' AND expires_at <= %(now)s
    AND tenant_id = %(tenant)s
ORDER BY expires_at LIMIT %(chunk)s
"""

_LOCK_BALANCES = """
SELECT id FROM metering_balance
WHERE id IN (SELECT balance_id FROM metering_holdline WHERE hold_id = ANY(%s::uuid[]) AND open)
ORDER BY id FOR UPDATE
"""

# A hold that was extended, settled or released meanwhile is no longer among them.
_LOCK_HOLDS = """
SELECT id FROM metering_hold WHERE id = ANY(%s::uuid[]) AND status = 'open' AND expires_at <= %s
ORDER BY id FOR UPDATE
"""

_LOCK_LINES = """
SELECT id, balance_id, reserved FROM metering_holdline WHERE hold_id = ANY(%s::uuid[]) AND open ORDER BY id FOR UPDATE
"""

_CLOSE_LINES = (
    "UPDATE metering_holdline SET open = false, reserved = 0, updated_at = clock_timestamp() WHERE id = ANY(%s::uuid[])"
)

_GIVE_BACK = """
UPDATE metering_balance AS balance SET held = held - given.quantity, updated_at = clock_timestamp()
FROM unnest(%s::uuid[], %s::numeric[]) AS given (id, quantity) WHERE balance.id = given.id
"""

_EXPIRE = """
UPDATE metering_hold SET status = 'expired', closed_at = %s, updated_at = clock_timestamp() WHERE id = ANY(%s::uuid[])
"""


def expire_holds(*, now: datetime | None = None, tenant_id: UUID | None = None) -> int:
    """End every open hold that has run out by its workspace's clock; how many.

    `now` is real time; with `tenant_id` only this workspace is looked at, else WorkspacesFailedError tells at the end
    where it failed.
    """
    now = now or real_clock().now()
    if tenant_id is not None:
        return _expire_due(_DUE_IN, now + clock_offset_of(tenant_id), tenant=tenant_id)
    moved = Tenant.objects.filter(clock_offset__isnull=False).values_list("id", "clock_offset")
    offsets = {id: offset or timedelta(0) for id, offset in moved}
    each = EachWorkspace("expire_holds")
    ended = each.together(
        lambda: _expire_due(_DUE, now, moved=list(offsets)),
        one=lambda id: _expire_due(_DUE_IN, now, tenant=id),
        concerned=lambda: _read(_CONCERNED, {"now": now, "moved": list(offsets)}),
    )
    for moved_id, offset in offsets.items():
        with each.of(moved_id):
            ended += _expire_due(_DUE_IN, now + offset, tenant=moved_id)
    each.tell()
    return ended


def _expire_due(statement: str, at: datetime, **which: Any) -> int:
    ended = 0
    while due := _read(statement, {"now": at, "chunk": CHUNK, **which}):
        ended += _expire(due, at)
    return ended


def _read(statement: str, arguments: dict[str, Any]) -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        return [id for (id,) in cursor.fetchall()]


def _expire(due: list[UUID], at: datetime) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK_BALANCES, [due])
        balances = {id for (id,) in cursor.fetchall()}
        cursor.execute(_LOCK_HOLDS, [due, at])
        holds = [id for (id,) in cursor.fetchall()]
        cursor.execute(_LOCK_LINES, [holds])
        lines = cursor.fetchall()
        if not balances.issuperset(balance_id for _, balance_id, _ in lines):
            raise AssertionError("a hold has an open line on a balance that it did not have a moment ago")
        _give_back(lines)
        cursor.execute(_CLOSE_LINES, [[id for id, _, _ in lines]])
        cursor.execute(_EXPIRE, [at, holds])
        tell_expired(holds)
    return len(holds)


def _give_back(lines: Iterable[tuple[UUID, UUID, Decimal]]) -> None:
    given: dict[UUID, Decimal] = {}
    for _, balance_id, reserved in lines:
        given[balance_id] = EXACT.add(given.get(balance_id, ZERO), reserved)
    if given:
        with connection.cursor() as cursor:
            cursor.execute(_GIVE_BACK, [uuids(given), numbers(given.values())])


def tell_expired(holds: Sequence[UUID]) -> None:
    """Make the end of these holds known, in the transaction that ends them."""
    emit_events(
        OutgoingEvent(
            tenant_id=hold.tenant_id,
            type="hold.expired",
            subject=hold.public_id,
            data={
                "hold": hold.public_id,
                "license": encode_id(Prefix.LICENSE, hold.license_id),
                "agent": encode_id(Prefix.AGENT, hold.agent_id) if hold.agent_id else None,
                "customer": encode_id(Prefix.CUSTOMER, hold.customer_id),
                "usage": hold.usage,
                "expired_at": hold.expires_at.isoformat(),
            },
        )
        for hold in Hold.objects.filter(id__in=holds).order_by("expires_at", "id")
    )
