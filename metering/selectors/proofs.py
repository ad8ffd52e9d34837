"""Statements that recompute from raw events what the ledger and its workers keep, and give what differs.

Each is set-based and reads one snapshot with the others. `{tenant}` narrows all of them to some workspaces.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from metering.domain.enums import Scope
from metering.domain.quota_keys import EventDigests
from metering.selectors.buckets import buckets_of

#: Rows that one check reports at most.
MOST = 1000
#: Within it, what one clock says was before may have been after by another, or was not committed yet.
_MARGIN = "interval '2 minutes'"
#: Licences whose part of a digest is kept at hand.
_MOST_DIGESTS = 100_000
_EVER = datetime(1900, 1, 1, tzinfo=UTC)

# An event that was on its way when its balance was let go may count there or not: clocks of several machines differ.
# What corrects an event counts where that one does, so it is asked when that one was recorded.
# Balances meet events by day, so that hourly ones do not meet all events of their subject.
_BALANCES = """
WITH span AS MATERIALIZED (
    SELECT min(occurred_at) AS first, max(occurred_at) AS last FROM metering_usageevent WHERE {tenant}
), asked AS MATERIALIZED (
    SELECT balance.id, balance.tenant_id, balance.subject_id, balance.meter_id, balance.filter, balance.detached_at,
           balance.period_start, coalesce(balance.period_end, 'infinity') AS period_end, day
    FROM metering_balance AS balance
    JOIN metering_meter AS meter ON meter.id = balance.meter_id AND meter.aggregation IN ('sum', 'count')
    CROSS JOIN span
    CROSS JOIN LATERAL generate_series(
        date_bin('1 day', greatest(balance.period_start, span.first), 'epoch'::timestamptz),
        least(coalesce(balance.period_end, 'infinity'), span.last), interval '24 hours') AS day
    WHERE balance.scope = %(scope)s AND balance.{tenant}
), events AS (
    SELECT event.id, event.tenant_id, event.meter_id, event.quantity, event.dimensions, event.occurred_at,
           CASE WHEN event.corrects IS NULL THEN event.recorded_at ELSE (
               SELECT original.recorded_at FROM metering_usageevent AS original
               WHERE original.tenant_id = event.tenant_id AND original.id = event.corrects) END AS recorded_at,
           date_bin('1 day', event.occurred_at, 'epoch'::timestamptz) AS day,
           {subject} AS subject_id
    FROM metering_usageevent AS event WHERE event.{tenant}
), counted AS (
    SELECT asked.id,
           sum(quantity) FILTER (WHERE detached_at IS NULL OR recorded_at < detached_at - {margin}) AS surely,
           sum(least(quantity, 0)) FILTER (
               WHERE recorded_at BETWEEN detached_at - {margin} AND detached_at + {margin}) AS less,
           sum(greatest(quantity, 0)) FILTER (
               WHERE recorded_at BETWEEN detached_at - {margin} AND detached_at + {margin}) AS more
    FROM asked JOIN events USING (tenant_id, subject_id, meter_id, day)
    WHERE occurred_at >= period_start AND occurred_at < period_end AND dimensions @> filter
      AND NOT EXISTS (SELECT FROM metering_lateentry AS late
                      WHERE late.tenant_id = asked.tenant_id AND late.own_balance_id = asked.id
                        AND late.event_id = events.id)
    GROUP BY asked.id
), late AS (
    SELECT balance_id AS id, sum(quantity) AS quantity FROM metering_lateentry WHERE {tenant} GROUP BY balance_id
), compared AS (
    SELECT balance.id, balance.tenant_id, balance.subject_id, balance.period_start, balance.used,
           base + coalesce(surely, 0) + coalesce(less, 0) + coalesce(late.quantity, 0) AS least,
           base + coalesce(surely, 0) + coalesce(more, 0) + coalesce(late.quantity, 0) AS most
    FROM metering_balance AS balance
    JOIN metering_meter AS meter ON meter.id = balance.meter_id AND meter.aggregation IN ('sum', 'count')
    LEFT JOIN counted ON counted.id = balance.id
    LEFT JOIN late ON late.id = balance.id
    WHERE balance.scope = %(scope)s AND balance.{tenant}
)
SELECT id, tenant_id, subject_id, period_start, used, least, most FROM compared
WHERE NOT used BETWEEN least AND most ORDER BY id LIMIT {limit}
"""

_SUBJECTS = {
    Scope.AGENT: "unnest(event.agent_path)",
    Scope.LICENSE: "event.license_id",
    Scope.CUSTOMER: "event.customer_id",
    Scope.TENANT: "event.tenant_id",
}

_HELD = """
SELECT balance.id, balance.tenant_id, balance.held, coalesce(reserved.quantity, 0)
FROM metering_balance AS balance
LEFT JOIN (SELECT balance_id, sum(reserved) AS quantity FROM metering_holdline WHERE open AND {tenant}
           GROUP BY balance_id) AS reserved ON reserved.balance_id = balance.id
WHERE balance.{tenant} AND balance.held <> coalesce(reserved.quantity, 0)
ORDER BY balance.id LIMIT {limit}
"""

_UNREGISTERED = """
SELECT event.tenant_id, event.id, event.client_id, event.license_id
FROM metering_usageevent AS event
LEFT JOIN (SELECT tenant_id, unnest(event_ids) AS id FROM metering_eventid WHERE {tenant}) AS named
  ON named.tenant_id = event.tenant_id AND named.id = event.id
WHERE event.{tenant} AND event.derived_from IS NULL AND named.id IS NULL
ORDER BY event.id LIMIT {limit}
"""

_REGISTERED_ONLY = """
SELECT named.tenant_id, named.digest, named.id
FROM (SELECT tenant_id, digest, unnest(event_ids) AS id FROM metering_eventid
      WHERE {tenant} AND occurred_at >= %(kept_since)s) AS named
LEFT JOIN metering_usageevent AS event ON event.tenant_id = named.tenant_id AND event.id = named.id
WHERE event.id IS NULL ORDER BY named.id LIMIT {limit}
"""

_NAMED = """
SELECT event.tenant_id::text, event.id::text, event.license_id::text, event.client_id,
       encode(uuid_send(named.digest), 'hex')
FROM metering_usageevent AS event
JOIN (SELECT tenant_id, digest, unnest(event_ids) AS id FROM metering_eventid WHERE {tenant}) AS named
  ON named.tenant_id = event.tenant_id AND named.id = event.id
WHERE event.{tenant} AND event.kind IN ('usage', 'consume') AND event.derived_from IS NULL
"""

_ROLLUPS = """
WITH {buckets}
SELECT coalesce(kept.tenant_id, sought.tenant_id), coalesce(kept.size, sought.size),
       coalesce(kept.bucket_start, sought.bucket_start), coalesce(kept.license_id, sought.license_id),
       coalesce(kept.meter_id, sought.meter_id), coalesce(kept.total, 0), coalesce(sought.total, 0),
       coalesce(kept.events, 0), coalesce(sought.events, 0)
FROM (SELECT * FROM metering_usagerollup WHERE {tenant} AND bucket_start >= %(kept_since)s) AS kept
FULL JOIN buckets AS sought ON sought.id = kept.id
WHERE kept.total IS DISTINCT FROM sought.total OR kept.events IS DISTINCT FROM sought.events
ORDER BY 3, 4, 2 LIMIT {limit}
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
SELECT id, tenant_id, subject_id, used FROM metering_balance
WHERE {tenant} AND scope = 'license' AND plan_id IS NOT NULL AND closed_at IS NULL
  AND updated_at < %(looked_at)s - {margin}
  AND tenant_id NOT IN (
      SELECT tenant_id FROM tenants_epoch
      WHERE kind IN ('tenant', 'license') AND changed_at >= %(looked_at)s - {margin})
"""

_COUNTS = """
SELECT (SELECT count(*) FROM metering_usageevent WHERE {tenant}),
       (SELECT count(*) FROM metering_balance WHERE {tenant}),
       (SELECT count(*) FROM metering_eventid WHERE {tenant}), (SELECT count(*) FROM metering_holdline WHERE {tenant}),
       (SELECT count(*) FROM metering_usagerollup WHERE {tenant}),
       (SELECT count(*) FROM metering_overagerecord WHERE {tenant}),
       (SELECT count(*) FROM metering_usageevent WHERE {tenant} AND xid >= %(watermark)s)
"""


class BalanceProof(NamedTuple):
    """A balance that is not what its events add up to; they may come to anything from `least` to `most`."""

    id: UUID
    tenant_id: UUID
    subject_id: UUID
    period_start: datetime
    used: Decimal
    least: Decimal
    most: Decimal


class HeldProof(NamedTuple):
    """A balance that holds something else than its open hold lines reserve."""

    id: UUID
    tenant_id: UUID
    held: Decimal
    reserved: Decimal


class RollupProof(NamedTuple):
    """A bucket that is not what its events add up to."""

    tenant_id: UUID
    size: str
    bucket_start: datetime
    license_id: UUID
    meter_id: UUID
    total: Decimal
    sought: Decimal
    events: int
    events_sought: int


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

    def balances(self) -> Iterator[BalanceProof]:
        """Balances of meters that add up whose `used` is not the sum of their events."""
        for scope in Scope:
            statement = _BALANCES.replace("{subject}", _SUBJECTS[scope])
            yield from map(BalanceProof._make, self._rows(statement, scope=scope))

    def held(self) -> Iterator[HeldProof]:
        """Balances whose `held` is not the sum of their open hold lines."""
        return map(HeldProof._make, self._rows(_HELD))

    def unregistered(self) -> Iterator[tuple[UUID, UUID, str, UUID]]:
        """Events that no id in the register names: tenant, event, the caller's id, licence."""
        yield from self._rows(_UNREGISTERED)

    def registered_only(self) -> Iterator[tuple[UUID, UUID, UUID]]:
        """Events that the register names and that do not exist: tenant, digest, event."""
        yield from self._rows(_REGISTERED_ONLY)

    def misnamed(self) -> Iterator[tuple[UUID, UUID, UUID, str]]:
        """Events of callers' own ids that stand in the register under another id: tenant, event, licence, id."""
        text = self._text(_NAMED)
        digests: dict[str, EventDigests] = {}
        with connection.chunked_cursor() as cursor:
            cursor.execute(text, self._arguments)
            while rows := cursor.fetchmany(5000):
                # Texts are half as dear to read as UUIDs, and here every event is read.
                for tenant_id, event_id, license_id, client_id, digest in rows:
                    of_license = digests.get(license_id) or digests.setdefault(
                        license_id, EventDigests(UUID(license_id))
                    )
                    if of_license.of(client_id) != digest:
                        yield UUID(tenant_id), UUID(event_id), UUID(license_id), client_id
                if len(digests) > _MOST_DIGESTS:
                    digests.clear()

    def rollups(self, watermark: int) -> Iterator[RollupProof]:
        """Buckets that are not the sum of the events below the watermark."""
        statement = _ROLLUPS.replace("{buckets}", buckets_of(f"xid < %(watermark)s AND {self._tenant}"))
        return map(RollupProof._make, self._rows(statement, watermark=watermark))

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
        yield from self._rows(_FINALIZED)

    def settled(self, looked_at: datetime) -> Iterator[tuple[UUID, UUID, UUID, Decimal]]:
        """Open licence balances of plans that accrual has dealt with for certain: id, tenant, licence, used."""
        yield from self._rows(_SETTLED, looked_at=looked_at)

    def counts(self, watermark: int) -> Counts:
        """How much there is."""
        return Counts._make(next(iter(self._rows(_COUNTS, watermark=watermark))))

    def _rows(self, statement: str, **arguments: Any) -> Iterator[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(self._text(statement), {**self._arguments, **arguments})
            while rows := cursor.fetchmany(2000):
                yield from rows

    def _text(self, statement: str) -> str:
        return statement.replace("{tenant}", self._tenant).replace("{limit}", str(MOST)).replace("{margin}", _MARGIN)
