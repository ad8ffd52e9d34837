"""Statements that recompute from raw events what the ledger and its workers keep, and give what differs.

Each is set-based and reads one snapshot with the others. `{tenant}` narrows all of them to some workspaces.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from metering.selectors.usage_proofs import MARGIN, MOST

_EVER = datetime(1900, 1, 1, tzinfo=UTC)

_HELD = """
SELECT balance.id, balance.tenant_id, balance.held, coalesce(reserved.quantity, 0)
FROM metering_balance AS balance
LEFT JOIN (SELECT balance_id, sum(reserved) AS quantity FROM metering_holdline WHERE open AND {tenant}
           GROUP BY balance_id) AS reserved ON reserved.balance_id = balance.id
WHERE balance.{tenant} AND balance.held <> coalesce(reserved.quantity, 0)
ORDER BY balance.id LIMIT {limit}
"""

_LATE = """
SELECT late.tenant_id, late.event_id, late.balance_id, late.quantity, event.quantity
FROM metering_lateentry AS late
LEFT JOIN metering_usageevent AS event ON event.tenant_id = late.tenant_id AND event.id = late.event_id
WHERE late.{tenant} AND late.occurred_at >= %(kept_since)s AND late.quantity IS DISTINCT FROM event.quantity
ORDER BY late.id LIMIT {limit}
"""

_TOP_UPS = """
SELECT top_up.tenant_id, top_up.id, top_up.used, coalesce(burnt.quantity, 0)
FROM metering_topup AS top_up
LEFT JOIN (SELECT top_up_id, sum(quantity) AS quantity FROM metering_topupburn WHERE {tenant} GROUP BY top_up_id)
    AS burnt ON burnt.top_up_id = top_up.id
WHERE top_up.{tenant} AND top_up.used <> coalesce(burnt.quantity, 0) ORDER BY top_up.id LIMIT {limit}
"""

_BURNED = """
SELECT balance.tenant_id, balance.id, balance.burned, coalesce(burnt.quantity, 0)
FROM metering_balance AS balance
LEFT JOIN (SELECT balance_id, sum(quantity) AS quantity FROM metering_topupburn WHERE {tenant} GROUP BY balance_id)
    AS burnt ON burnt.balance_id = balance.id
WHERE balance.{tenant} AND balance.burned <> coalesce(burnt.quantity, 0) ORDER BY balance.id LIMIT {limit}
"""

_FINALIZED = """
SELECT tenant_id, subject, data->>'amount', data->>'currency' FROM tenants_outboxevent
WHERE {tenant} AND type IN ('overage.finalized', 'overage.credited') ORDER BY id
"""

# What had not changed for a while when all open periods were last looked at, and whose terms are the same since.
_SETTLED = """
SELECT tenant_id, subject_id, id, used FROM metering_balance
WHERE {tenant} AND scope = 'license' AND plan_id IS NOT NULL AND closed_at IS NULL
  AND updated_at < %(looked_at)s - {margin}
  AND tenant_id NOT IN (
      SELECT tenant_id FROM tenants_epoch
      WHERE kind IN ('tenant', 'license') AND changed_at >= %(looked_at)s - {margin})
ORDER BY tenant_id, subject_id
"""

_COUNTS = """
SELECT event.seen, (SELECT count(*) FROM metering_balance WHERE {tenant}),
       (SELECT count(*) FROM metering_eventid WHERE {tenant}), (SELECT count(*) FROM metering_holdline WHERE {tenant}),
       (SELECT count(*) FROM metering_usagerollup WHERE {tenant}),
       (SELECT count(*) FROM metering_overagerecord WHERE {tenant}), event.waiting
FROM (SELECT count(*) AS seen, count(*) FILTER (WHERE xid >= %(watermark)s) AS waiting
      FROM metering_usageevent WHERE {tenant}) AS event
"""


class HeldProof(NamedTuple):
    """A balance that holds something else than its open hold lines reserve."""

    id: UUID
    tenant_id: UUID
    held: Decimal
    reserved: Decimal


class Counts(NamedTuple):
    """How many rows the proof is about; `waiting` events are not rolled up yet."""

    events: int
    balances: int
    event_ids: int
    hold_lines: int
    rollups: int
    overages: int
    waiting: int


class Proofs:
    """All checks of one snapshot, of all workspaces or of some. Events before `kept_since` are not kept any more."""

    def __init__(self, tenants: Sequence[UUID] | None = None, *, kept_since: datetime | None = None) -> None:
        self._tenant = "tenant_id IS NOT NULL" if tenants is None else "tenant_id = ANY(%(tenants)s::uuid[])"
        self.kept_since = kept_since or _EVER
        self._arguments: dict[str, Any] = {"kept_since": self.kept_since}
        if tenants is not None:
            self._arguments["tenants"] = list(tenants)

    def held(self) -> Iterator[HeldProof]:
        """Balances whose `held` is not the sum of their open hold lines."""
        return map(HeldProof._make, self._rows(_HELD))

    def late_entries(self) -> Iterator[tuple[UUID, UUID, UUID, Decimal, Decimal | None]]:
        """Late entries that are not what their events are: tenant, event, balance, quantity, the event's quantity."""
        yield from self._rows(_LATE)

    def top_ups(self) -> Iterator[tuple[UUID, UUID, Decimal, Decimal]]:
        """Top-ups whose use is not the sum of their burns: tenant, top-up, used, burnt."""
        yield from self._rows(_TOP_UPS)

    def burned(self) -> Iterator[tuple[UUID, UUID, Decimal, Decimal]]:
        """Balances that say another sum than top-ups have covered: tenant, balance, burned, the sum of its burns."""
        yield from self._rows(_BURNED)

    def finalized(self) -> Iterator[tuple[UUID, str, str, str]]:
        """Bills and corrections of bills that were announced: tenant, the record's public id, amount, currency."""
        yield from self._stream(_FINALIZED)

    def settled(self, looked_at: datetime) -> Iterator[tuple[UUID, UUID, UUID, Decimal]]:
        """Open licence balances of plans that accrual has dealt with for certain: tenant, licence, id, used.

        Those of one licence come together.
        """
        yield from self._stream(_SETTLED, looked_at=looked_at)

    def counts(self, watermark: int) -> Counts:
        """How much there is."""
        return Counts._make(next(iter(self._rows(_COUNTS, watermark=watermark))))

    def _rows(self, statement: str, **arguments: Any) -> Iterator[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(self._text(statement), {**self._arguments, **arguments})
            while rows := cursor.fetchmany(2000):
                yield from rows

    def _stream(self, statement: str, **arguments: Any) -> Iterator[tuple[Any, ...]]:
        """Rows whose number nothing bounds: the database keeps them."""
        with connection.chunked_cursor() as cursor:
            cursor.execute(self._text(statement), {**self._arguments, **arguments})
            while rows := cursor.fetchmany(2000):
                yield from rows

    def _text(self, statement: str) -> str:
        return statement.replace("{tenant}", self._tenant).replace("{limit}", str(MOST)).replace("{margin}", MARGIN)
