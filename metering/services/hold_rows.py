"""Rows of holds, locked and written for a whole batch: one query each, however many holds it has."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from django.db import connection

from common.errors import NotFound
from metering.domain.enums import HoldStatus
from metering.domain.terms import Caller
from metering.models import Hold, HoldLine
from metering.services.array_literals import flags, moments, numbers, uuids, words
from tenants.models import TenantQuerySet

#: A hold as the doors have it in hand, who know no models.
StoredHold: TypeAlias = Hold

_WRITE_HOLDS = """
UPDATE metering_hold AS hold SET status = new.status, settled = new.settled::jsonb, closed_at = new.closed_at,
    expires_at = new.expires_at, updated_at = clock_timestamp()
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[])
    AS new (id, status, settled, closed_at, expires_at)
WHERE hold.id = new.id
"""

_WRITE_LINES = """
UPDATE metering_holdline AS line SET reserved = new.reserved, open = new.open, expires_at = new.expires_at,
    updated_at = clock_timestamp()
FROM unnest(%s::uuid[], %s::numeric[], %s::boolean[], %s::timestamptz[]) AS new (id, reserved, open, expires_at)
WHERE line.id = new.id
"""


@dataclass(frozen=True, slots=True)
class LockedHold:
    """A hold under lock with its open lines, as the batch leaves it."""

    hold: Hold
    lines: list[HoldLine]


def find_holds(asked: Sequence[tuple[Caller, UUID]]) -> list[Hold | NotFound]:
    """For each its hold: of the caller's agent or of one below it. A licence acts for all of its agents."""
    tenant_ids = {caller.tenant_id for caller, _ in asked}
    rows = Hold.objects.filter(tenant_id__in=tenant_ids, id__in={id for _, id in asked}).select_related("agent")
    found = {hold.id: hold for hold in rows}
    return [_of(caller, found.get(id)) for caller, id in asked]


def _of(caller: Caller, hold: Hold | None) -> Hold | NotFound:
    if hold is None or (hold.tenant_id, hold.license_id) != (caller.tenant_id, caller.license_id):
        return NotFound("There is no such hold.")
    if caller.agent_id and (hold.agent is None or caller.agent_id not in hold.agent.path):
        return NotFound("There is no such hold.")
    return hold


def lines_of(holds: Collection[Hold]) -> TenantQuerySet[HoldLine]:
    """All lines of these holds, open or not."""
    tenant_ids = {hold.tenant_id for hold in holds}
    return HoldLine.objects.filter(tenant_id__in=tenant_ids, hold_id__in={hold.id for hold in holds})


def balances_of(holds: Collection[Hold]) -> set[UUID]:
    """The balances in which these holds reserve, or did: a hold never gets others."""
    return set(lines_of(holds).values_list("balance_id", flat=True))


def lock_holds(holds: Collection[Hold]) -> dict[UUID, LockedHold]:
    """These holds as they stand, in the order of their ids. Their balances are locked before."""
    tenant_ids = {hold.tenant_id for hold in holds}
    rows = Hold.objects.filter(tenant_id__in=tenant_ids, id__in={hold.id for hold in holds}).order_by("id")
    locked = {hold.id: LockedHold(hold, []) for hold in rows.select_for_update()}
    for line in lines_of(holds).filter(open=True).select_for_update().order_by("id"):
        locked[line.hold_id].lines.append(line)
    return locked


def write_holds(changed: Iterable[LockedHold]) -> None:
    """Write what has become of them, and of their lines."""
    rows = list(changed)
    if not rows:
        return
    holds = [row.hold for row in rows]
    lines = [line for row in rows for line in row.lines]
    with connection.cursor() as cursor:
        cursor.execute(
            _WRITE_HOLDS,
            [
                uuids(hold.id for hold in holds),
                words(HoldStatus(hold.status).value for hold in holds),
                [json.dumps(hold.settled) for hold in holds],
                moments(hold.closed_at for hold in holds),
                moments(hold.expires_at for hold in holds),
            ],
        )
        if lines:
            cursor.execute(
                _WRITE_LINES,
                [
                    uuids(line.id for line in lines),
                    numbers(line.reserved for line in lines),
                    flags(line.open for line in lines),
                    moments(line.expires_at for line in lines),
                ],
            )
