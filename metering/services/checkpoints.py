"""What a month's events have contributed to balances, put into their `base` as the events go.

Called inside the transaction that drops the month, so that at any instant `used` is `base` plus the events that are
kept, plus late entries. A balance whose period lies before the end of the month has no events left: its base is all
that it has used, less its late entries, which stay.
"""

from django.db import connection

from metering.domain.enums import Scope
from metering.selectors.history import Month
from metering.selectors.usage_values import LIVE

_SUBJECTS = {
    Scope.AGENT: "unnest(event.agent_path)",
    Scope.LICENSE: "event.license_id",
    Scope.CUSTOMER: "event.customer_id",
    Scope.TENANT: "event.tenant_id",
}

# Balances of periods that go on after the month: what its events are to them, by the meter's aggregation. Values that
# a unique meter's balance has seen are kept with it (BalanceValue), so its base stays 0.
_CONTRIBUTED = """
INSERT INTO metering_contribution (id, quantity, at)
WITH events AS (
    SELECT event.id, event.tenant_id, event.license_id, event.meter_id, event.quantity, event.dimensions,
           event.occurred_at, event.recorded_at, event.corrects, event.flags, {subject} AS subject_id
    FROM {month} AS event
), counted AS (
    SELECT balance.id, meter.aggregation, event.quantity, event.occurred_at, event.id AS event_id
    FROM metering_balance AS balance
    JOIN metering_meter AS meter ON meter.id = balance.meter_id AND meter.aggregation <> 'unique'
    JOIN events AS event ON event.tenant_id = balance.tenant_id AND event.subject_id = balance.subject_id
     AND event.meter_id = balance.meter_id AND event.occurred_at >= balance.period_start
     AND event.dimensions @> balance.filter
    WHERE balance.scope = %(scope)s AND balance.period_start < %(ends)s
      AND coalesce(balance.period_end, 'infinity') > %(ends)s
      AND (balance.detached_at IS NULL OR event.recorded_at < balance.detached_at)
      AND (meter.aggregation IN ('sum', 'count') OR {live})
      AND NOT EXISTS (SELECT FROM metering_lateentry AS late
                      WHERE late.tenant_id = balance.tenant_id AND late.own_balance_id = balance.id
                        AND late.event_id = event.id)
)
SELECT id, CASE aggregation WHEN 'max' THEN max(quantity)
                            WHEN 'latest' THEN (array_agg(quantity ORDER BY occurred_at DESC, event_id DESC))[1]
                            ELSE sum(quantity) END, max(occurred_at)
FROM counted GROUP BY id, aggregation
"""

_PREPARE = """
CREATE TEMP TABLE metering_contribution (id uuid PRIMARY KEY, quantity numeric NOT NULL, at timestamptz NOT NULL)
ON COMMIT DROP
"""

_LOCK = """
SELECT count(*) FROM (
    SELECT balance.id FROM metering_balance AS balance JOIN metering_contribution AS given ON given.id = balance.id
    ORDER BY balance.id FOR UPDATE OF balance
) AS locked
"""

# Months go in their order, so the latest value of those dropped is this month's.
_ADD = """
UPDATE metering_balance AS balance
SET base = CASE meter.aggregation WHEN 'max' THEN greatest(balance.base, given.quantity)
                                  WHEN 'latest' THEN given.quantity
                                  ELSE balance.base + given.quantity END
FROM metering_contribution AS given, metering_meter AS meter
WHERE balance.id = given.id AND meter.id = balance.meter_id
"""

_SETTLE_ENDED = """
UPDATE metering_balance AS balance
SET base = balance.used - CASE WHEN meter.aggregation IN ('sum', 'count') THEN coalesce(late.quantity, 0) ELSE 0 END
FROM metering_meter AS meter, metering_balance AS same
LEFT JOIN (SELECT balance_id, sum(quantity) AS quantity FROM metering_lateentry GROUP BY balance_id) AS late
  ON late.balance_id = same.id
WHERE same.id = balance.id AND meter.id = balance.meter_id
  AND balance.period_end > %(starts)s AND balance.period_end <= %(ends)s
"""


def find_contributions(month: Month) -> None:
    """What the month's events are to the balances of periods that go on; kept aside until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(_PREPARE)
        for scope in Scope:
            statement = _CONTRIBUTED.format(subject=_SUBJECTS[scope], month=month.name, live=LIVE)
            cursor.execute(statement, {"scope": scope, "ends": month.ends_at})


def check_point_balances(month: Month) -> int:
    """Put what was found into the balances' `base`, and settle those whose period is over; how many changed.

    Locks balances in the ledger's order.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LOCK)
        cursor.execute(_ADD)
        changed: int = cursor.rowcount
        cursor.execute(_SETTLE_ENDED, {"starts": month.starts_at, "ends": month.ends_at})
        changed += cursor.rowcount
    return changed
