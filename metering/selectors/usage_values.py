"""Values of meters that do not add up, from raw events: max, unique and latest have no meaning in roll-ups.

Live events are read: not those that were taken back, nor what took them back, nor what its meter's filter left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import connection
from psycopg.types.json import Jsonb

from metering.domain.counting import NOTHING_OBSERVED, Standing
from metering.domain.enums import Aggregation, Scope
from metering.domain.periods import Window
from metering.domain.terms import QuotaTerms
from metering.selectors import seeds

_SUBJECT: Final = {
    Scope.AGENT: "event.license_id = %(license)s AND event.agent_path @> ARRAY[%(subject)s]::uuid[]",
    Scope.LICENSE: "event.license_id = %(subject)s",
    Scope.CUSTOMER: "event.customer_id = %(subject)s",
    Scope.TENANT: "true",
}

#: Whether an event of the table `event` counts: to be put behind its own tenant and meter.
LIVE: Final = """
    event.corrects IS NULL AND NOT 'not_counted' = ANY(event.flags)
    AND NOT EXISTS (SELECT FROM metering_usageevent AS taken
                    WHERE taken.tenant_id = event.tenant_id AND taken.meter_id = event.meter_id
                      AND taken.license_id = event.license_id AND taken.corrects IS NOT NULL
                      AND taken.corrects = event.id)
"""

#: What a unique meter tells apart, as text.
VALUE: Final = (
    "CASE WHEN %(value_from)s = '' THEN trim_scale(event.quantity)::text"
    " ELSE coalesce(event.dimensions ->> %(value_from)s, '') END"
)

#: The events that count in one balance: those of its period that count nowhere else, and what came late to it.
_COUNTED_IN: Final = """
SELECT event.id, event.occurred_at, event.quantity, {value} AS value
FROM metering_usageevent AS event
WHERE event.tenant_id = %(tenant)s AND event.meter_id = %(meter)s
  AND event.occurred_at >= %(start)s AND event.occurred_at < coalesce(%(end)s::timestamptz, 'infinity')
  AND event.dimensions @> %(filter)s AND {subject} AND {live}
  AND NOT EXISTS (SELECT FROM metering_lateentry AS late
                  WHERE late.tenant_id = %(tenant)s AND late.own_balance_id = %(id)s AND late.event_id = event.id)
UNION ALL
SELECT event.id, event.occurred_at, event.quantity, {value}
FROM metering_lateentry AS late
JOIN metering_usageevent AS event ON event.id = late.event_id AND event.occurred_at = late.occurred_at
WHERE late.tenant_id = %(tenant)s AND late.balance_id = %(id)s
  AND event.tenant_id = %(tenant)s AND event.meter_id = %(meter)s AND {live}
"""

_WITHOUT: Final = "SELECT * FROM ({counted}) AS seen WHERE NOT seen.id = ANY(%(without)s)"

_VALUES: Final = """
SELECT encode(substr(sha256(uuid_send(%(id)s) || convert_to(value, 'UTF8')), 1, 16), 'hex')::uuid, count(*)
FROM ({counted}) AS seen GROUP BY value
"""

_HIGHEST: Final = "SELECT max(quantity) FROM ({counted}) AS seen"
_DISTINCT: Final = "SELECT count(DISTINCT value) FROM ({counted}) AS seen"
_LATEST: Final = """
SELECT quantity, occurred_at, id FROM ({counted}) AS seen ORDER BY occurred_at DESC, id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class BalanceScope:
    """A balance, as far as it says which events count in it. `license_id` is looked at for agents only."""

    id: UUID
    tenant_id: UUID
    meter_id: UUID
    aggregation: Aggregation
    value_from: str
    scope: Scope
    subject_id: UUID
    license_id: UUID | None
    filter: Mapping[str, str]
    window: Window

    @classmethod
    def of(
        cls, quota: QuotaTerms, id: UUID, *, tenant_id: UUID, license_id: UUID | None, window: Window
    ) -> "BalanceScope":
        """The balance `id` of a quota's period."""
        return cls(
            id=id,
            tenant_id=tenant_id,
            meter_id=quota.meter_id,
            aggregation=quota.aggregation,
            value_from=quota.value_from,
            scope=quota.scope,
            subject_id=quota.subject_id,
            license_id=license_id,
            filter=quota.filter,
            window=window,
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """What the statements here ask for."""
        return {
            "id": self.id,
            "tenant": self.tenant_id,
            "meter": self.meter_id,
            "value_from": self.value_from,
            "subject": self.subject_id,
            "license": self.license_id,
            "filter": Jsonb(dict(self.filter)),
            "start": self.window.start,
            "end": self.window.end,
        }


def counted_value(
    quota: QuotaTerms, balance_id: UUID, *, tenant_id: UUID, license_id: UUID | None, window: Window
) -> Decimal:
    """What the events of a quota's period come to, whatever its meter's aggregation; `license_id` for agents only."""
    if not quota.aggregation.adds_up:
        return standing_of(
            BalanceScope.of(quota, balance_id, tenant_id=tenant_id, license_id=license_id, window=window)
        ).value
    return seeds.counted(
        balance_id=balance_id,
        tenant_id=tenant_id,
        meter_id=quota.meter_id,
        scope=quota.scope,
        subject_id=quota.subject_id,
        license_id=license_id or quota.subject_id,
        filter=quota.filter,
        window=window,
    )


def standing_of(balance: BalanceScope, *, without: Sequence[UUID] = ()) -> Standing:
    """How a balance of a max, unique or latest meter stands by its live events; `without` leaves some out."""
    counted = _counted_in(balance)
    if without:
        counted = _WITHOUT.format(counted=counted)
    parameters = {**balance.parameters, "without": list(without)}
    statement = {Aggregation.UNIQUE: _DISTINCT, Aggregation.LATEST: _LATEST}.get(balance.aggregation, _HIGHEST)
    with connection.cursor() as cursor:
        cursor.execute(statement.format(counted=counted), parameters)
        found = cursor.fetchone()
    if found is None or found[0] is None:
        return Standing()
    if balance.aggregation is Aggregation.LATEST:
        return Standing(*found)
    return Standing(Decimal(found[0]), NOTHING_OBSERVED)


def values_of(balance: BalanceScope) -> dict[UUID, int]:
    """The values that a unique meter's balance has seen, by their ids, and how many live events carry each."""
    statement = _VALUES.format(counted=_counted_in(balance))
    with connection.cursor() as cursor:
        cursor.execute(statement, balance.parameters)
        return dict(cursor.fetchall())


def _counted_in(balance: BalanceScope) -> str:
    return _COUNTED_IN.format(subject=_SUBJECT[balance.scope], live=LIVE, value=VALUE)
