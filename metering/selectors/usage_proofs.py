"""Balances of meters that add up, and roll-ups, held against the raw events: both from one pass over these.

The events are added up once, by quarters of an hour and by all that a balance or a bucket tells apart; everything else
is asked of these sums. Events one by one are only read for what quarters do not tell: the ragged ends of periods that
begin within one, late events, and balances whose quota was let go.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection

from metering.selectors.buckets import BUCKETS_OF_QUARTERS

#: Rows of each kind that are reported at most.
MOST: Final = 1000
#: Within it, what one clock says was before may have been after by another, or was not committed yet.
MARGIN: Final = "interval '2 minutes'"
_EVER: Final = datetime(1900, 1, 1, tzinfo=UTC)

#: All whom a row of events or of their sums counts for, by scope. In the list of what is selected, so that rows are
#: told apart before anything is joined.
_SUBJECTS: Final = """
unnest(agent_path || ARRAY[license_id, customer_id, tenant_id]) AS subject_id,
unnest(array_fill('agent'::text, ARRAY[cardinality(agent_path)]) || '{license,customer,tenant}'::text[]) AS scope
"""
#: Most quotas have no filter, and then the dimensions need not be read.
_MATCHES: Final = "(filter = '{}' OR dimensions::jsonb @> filter)"

_ASKED: Final = """
asked AS MATERIALIZED (
    SELECT balance.id, balance.tenant_id, balance.scope::text, balance.subject_id, balance.meter_id, balance.filter,
           balance.period_start, coalesce(balance.period_end, 'infinity') AS period_end, balance.used, balance.base,
           balance.detached_at
    FROM metering_balance AS balance
    JOIN metering_meter AS meter ON meter.id = balance.meter_id AND meter.aggregation IN ('sum', 'count')
    WHERE balance.{tenant} AND balance.detached_at {detached}
), days AS MATERIALIZED (
    SELECT asked.*, day FROM asked CROSS JOIN span
    CROSS JOIN LATERAL generate_series(
        date_bin('1 day', greatest(asked.period_start, span.first), 'epoch'::timestamptz),
        least(asked.period_end, span.last), interval '24 hours') AS day
    WHERE span.first IS NOT NULL
)
"""

_LATE: Final = """
late AS (
    SELECT balance_id AS id, sum(quantity) AS quantity FROM metering_lateentry WHERE {tenant} GROUP BY balance_id
)
"""

# Balances meet quarters by day, so that hourly ones do not meet all quarters of their subject. A quarter that a period
# only has a part of is left to `ends`; one that an event is late for still holds it, so `elsewhere` takes it off.
_BY_QUARTERS: Final = """
WITH summed AS MATERIALIZED (
    SELECT tenant_id, date_bin('15 minutes', occurred_at, 'epoch'::timestamptz) AS bucket_start,
           meter_id, customer_id, license_id, agent_id, agent_path, dimensions::text AS dimensions,
           sum(quantity) AS quantity,
           sum(quantity) FILTER (WHERE xid < %(watermark)s) AS total,
           count(*) FILTER (WHERE xid < %(watermark)s) AS events
    FROM metering_usageevent WHERE {tenant}
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
), span AS MATERIALIZED (
    SELECT min(bucket_start) AS first, max(bucket_start) AS last FROM summed
), {asked}, whole AS (
    SELECT days.id, sum(summed.quantity) AS quantity
    FROM (SELECT summed.*, date_bin('1 day', bucket_start, 'epoch'::timestamptz) AS day, {subjects}
          FROM summed) AS summed
    JOIN days USING (tenant_id, scope, subject_id, meter_id, day)
    WHERE bucket_start >= period_start AND bucket_start + interval '15 minutes' <= period_end AND {matches}
    GROUP BY days.id
), ragged AS MATERIALIZED (
    SELECT asked.*, bucket_start FROM asked CROSS JOIN LATERAL (
        SELECT date_bin('15 minutes', period_start, 'epoch'::timestamptz)
        UNION SELECT date_bin('15 minutes', period_end, 'epoch'::timestamptz) WHERE period_end < 'infinity'
    ) AS quarter (bucket_start)
    WHERE NOT (bucket_start >= period_start AND bucket_start + interval '15 minutes' <= period_end)
      AND bucket_start < period_end
), ends AS (
    SELECT ragged.id, sum(event.quantity) AS quantity
    FROM (SELECT event.*, date_bin('15 minutes', occurred_at, 'epoch'::timestamptz) AS bucket_start, {subjects}
          FROM metering_usageevent AS event WHERE {tenant}) AS event
    JOIN ragged USING (tenant_id, scope, subject_id, meter_id, bucket_start)
    WHERE occurred_at >= period_start AND occurred_at < period_end AND {matches}
    GROUP BY ragged.id
), elsewhere AS (
    SELECT asked.id, sum(event.quantity) AS quantity
    FROM (SELECT DISTINCT tenant_id, own_balance_id, event_id FROM metering_lateentry WHERE {tenant}) AS entry
    JOIN asked ON asked.tenant_id = entry.tenant_id AND asked.id = entry.own_balance_id
    JOIN metering_usageevent AS event ON event.tenant_id = entry.tenant_id AND event.id = entry.event_id
      AND event.{tenant}
    WHERE event.meter_id = asked.meter_id AND occurred_at >= period_start AND occurred_at < period_end AND {matches}
      AND CASE scope WHEN 'agent' THEN subject_id = ANY(event.agent_path) WHEN 'license' THEN subject_id = license_id
                     WHEN 'customer' THEN subject_id = customer_id ELSE subject_id = event.tenant_id END
    GROUP BY asked.id
), {late}, compared AS (
    SELECT asked.id, asked.tenant_id, asked.subject_id, asked.period_start, asked.used,
           base + coalesce(whole.quantity, 0) + coalesce(ends.quantity, 0) - coalesce(elsewhere.quantity, 0)
               + coalesce(late.quantity, 0) AS sought
    FROM asked LEFT JOIN whole ON whole.id = asked.id LEFT JOIN ends ON ends.id = asked.id
    LEFT JOIN elsewhere ON elsewhere.id = asked.id LEFT JOIN late ON late.id = asked.id
), balances AS (
    SELECT 'balance', id, tenant_id, subject_id, period_start, used, sought AS least, sought AS most
    FROM compared WHERE used <> sought ORDER BY id LIMIT {most}
)
"""

_ALONE: Final = "SELECT * FROM balances"

_ROLLUPS: Final = """
, quarters AS MATERIALIZED (
    SELECT tenant_id, bucket_start, meter_id, customer_id, license_id, agent_id, dimensions,
           sum(total) AS total, sum(events) AS events
    FROM summed WHERE events > 0 GROUP BY 1, 2, 3, 4, 5, 6, 7
), {buckets}, rollups AS (
    SELECT 'rollup', coalesce(kept.meter_id, sought.meter_id), coalesce(kept.tenant_id, sought.tenant_id),
           coalesce(kept.license_id, sought.license_id), coalesce(kept.bucket_start, sought.bucket_start),
           coalesce(kept.total, 0), coalesce(sought.total, 0), coalesce(kept.events, 0)::numeric,
           coalesce(sought.events, 0), coalesce(kept.size, sought.size)
    FROM (SELECT * FROM metering_usagerollup WHERE {tenant} AND bucket_start >= %(kept_since)s) AS kept
    FULL JOIN buckets AS sought ON sought.id = kept.id
    WHERE kept.total IS DISTINCT FROM sought.total OR kept.events IS DISTINCT FROM sought.events
    ORDER BY 5, 4, 10 LIMIT {most}
)
SELECT *, NULL::numeric, NULL FROM balances UNION ALL SELECT * FROM rollups
"""

# An event that was on its way when its balance was let go may count there or not: clocks of several machines differ.
# What corrects an event counts where that one does, so it is asked when that one was recorded.
_LET_GO: Final = """
WITH span AS MATERIALIZED (
    SELECT min(occurred_at) AS first, max(occurred_at) AS last FROM metering_usageevent WHERE {tenant}
), {asked}, events AS (
    SELECT event.*, date_bin('1 day', event.occurred_at, 'epoch'::timestamptz) AS day, {subjects},
           CASE WHEN event.corrects IS NULL THEN event.recorded_at ELSE (
               SELECT original.recorded_at FROM metering_usageevent AS original
               WHERE original.tenant_id = event.tenant_id AND original.id = event.corrects) END AS counted_at
    FROM metering_usageevent AS event WHERE {tenant}
), counted AS (
    SELECT days.id, sum(quantity) FILTER (WHERE counted_at < detached_at - {margin}) AS surely,
           sum(least(quantity, 0)) FILTER (
               WHERE counted_at BETWEEN detached_at - {margin} AND detached_at + {margin}) AS less,
           sum(greatest(quantity, 0)) FILTER (
               WHERE counted_at BETWEEN detached_at - {margin} AND detached_at + {margin}) AS more
    FROM events JOIN days USING (tenant_id, scope, subject_id, meter_id, day)
    WHERE occurred_at >= period_start AND occurred_at < period_end AND {matches}
      AND NOT EXISTS (SELECT FROM metering_lateentry AS entry
                      WHERE entry.tenant_id = days.tenant_id AND entry.own_balance_id = days.id
                        AND entry.event_id = events.id)
    GROUP BY days.id
), {late}, compared AS (
    SELECT asked.id, asked.tenant_id, asked.subject_id, asked.period_start, asked.used,
           base + coalesce(surely, 0) + coalesce(less, 0) + coalesce(late.quantity, 0) AS least,
           base + coalesce(surely, 0) + coalesce(more, 0) + coalesce(late.quantity, 0) AS most
    FROM asked LEFT JOIN counted ON counted.id = asked.id LEFT JOIN late ON late.id = asked.id
)
SELECT id, tenant_id, subject_id, period_start, used, least, most FROM compared
WHERE NOT used BETWEEN least AND most ORDER BY id LIMIT {most}
"""

_PARTS: Final = {
    "asked": _ASKED,
    "late": _LATE,
    "subjects": _SUBJECTS,
    "matches": _MATCHES,
    "buckets": BUCKETS_OF_QUARTERS,
    "margin": MARGIN,
    "most": str(MOST),
}


class BalanceProof(NamedTuple):
    """A balance that is not what its events add up to; they may come to anything from `least` to `most`."""

    id: UUID
    tenant_id: UUID
    subject_id: UUID
    period_start: datetime
    used: Decimal
    least: Decimal
    most: Decimal


class RollupProof(NamedTuple):
    """A bucket that is not what its events add up to."""

    meter_id: UUID
    tenant_id: UUID
    license_id: UUID
    bucket_start: datetime
    total: Decimal
    sought: Decimal
    events: int
    events_sought: int
    size: str


def differing_usage(
    tenants: Sequence[UUID] | None, *, kept_since: datetime | None, watermark: int
) -> Iterator[BalanceProof | RollupProof]:
    """Balances whose `used` is not the sum of their events, then buckets that are not the sum of those below
    `watermark`, if anything was rolled up; of all workspaces or of some.
    """
    if not watermark:
        yield from differing_balances(tenants)
        return
    asked = {"kept_since": kept_since or _EVER, "watermark": watermark}
    found = _rows(_BY_QUARTERS + _ROLLUPS, tenants, detached="IS NULL", **asked)
    yield from (BalanceProof._make(row[1:8]) for row in found if row[0] == "balance")
    yield from _let_go(tenants)
    yield from (RollupProof._make([*row[1:7], int(row[7]), int(row[8]), row[9]]) for row in found if row[0] == "rollup")


def differing_balances(tenants: Sequence[UUID] | None) -> Iterator[BalanceProof]:
    """The balances alone."""
    found = _rows(_BY_QUARTERS + _ALONE, tenants, detached="IS NULL", watermark=0)
    yield from (BalanceProof._make(row[1:]) for row in found)
    yield from _let_go(tenants)


def _let_go(tenants: Sequence[UUID] | None) -> Iterator[BalanceProof]:
    return map(BalanceProof._make, _rows(_LET_GO, tenants, detached="IS NOT NULL"))


def _rows(statement: str, tenants: Sequence[UUID] | None, *, detached: str, **arguments: Any) -> list[tuple[Any, ...]]:
    """No more than `MOST` of each kind, whatever there is."""
    for name, part in _PARTS.items():
        statement = statement.replace(f"{{{name}}}", part.strip())
    condition = "tenant_id IS NOT NULL" if tenants is None else "tenant_id = ANY(%(tenants)s::uuid[])"
    text = statement.replace("{tenant}", condition).replace("{detached}", detached)
    with connection.cursor() as cursor:
        cursor.execute(text, {"tenants": list(tenants or ()), **arguments})
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
