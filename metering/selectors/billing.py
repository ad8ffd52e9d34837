"""What billed quotas come to: usage above the limit of a plan's soft licence quota that has a price."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

# One licence, meter and filter is billed once at a time. Where periods of several billed balances overlap (a plan was
# changed, an add-on has a quota of its own), the one counts that was in force at the period's end: one detached only
# after it, else one that is attached, else one whose plan the licence carries; then the base plan's; then the oldest.
_BILLED = """
asked AS (
    SELECT id, tenant_id, subject_id, meter_id, filter, period_start, period_end FROM metering_balance
    WHERE scope = 'license' AND plan_id IS NOT NULL AND used > 0 AND {which}
      AND (tenant_id, subject_id) IN (SELECT * FROM unnest(%(tenants)s::uuid[], %(licenses)s::uuid[]))
), billed AS (
    SELECT balance.id, balance.tenant_id, balance.quota_key, balance.scope, balance.subject_id, balance.meter_id,
           balance.filter, balance.period_start, balance.period_end, balance.used, balance.carried,
           quota.id AS quota_id, price.id AS price_id,
           CASE WHEN carried.plan_id IS NULL THEN quota."limit" ELSE summed."limit" END AS quota_limit,
           (CASE WHEN balance.detached_at >= balance.period_end THEN 0
                 WHEN balance.detached_at IS NULL THEN 1
                 WHEN carried.plan_id IS NOT NULL AND quota.archived_at IS NULL THEN 2 ELSE 3 END,
            coalesce(carried.role, '') <> 'base', quota.created_at, quota.id) AS rank
    FROM metering_balance AS balance
    JOIN LATERAL (
        SELECT * FROM metering_quota AS own
        WHERE own.tenant_id = balance.tenant_id AND own.plan_id = balance.plan_id AND own.key = balance.quota_key
        ORDER BY own.archived_at IS NOT NULL, own.created_at DESC, own.id DESC LIMIT 1
    ) AS quota ON quota.mode = 'soft' AND quota.scope = 'license'
    JOIN LATERAL (
        SELECT price.id FROM metering_price AS price
        WHERE price.tenant_id = balance.tenant_id AND price.plan_id = balance.plan_id
          AND price.meter_id = balance.meter_id AND price.filter = balance.filter
          AND (price.starts_at IS NULL OR price.starts_at <= balance.period_start)
          AND (price.archived_at IS NULL OR price.archived_at > balance.period_start)
        ORDER BY price.archived_at IS NOT NULL, price.starts_at DESC NULLS LAST,
                 coalesce(price.archived_at, price.created_at) DESC, price.id DESC
        LIMIT 1
    ) AS price ON true
    LEFT JOIN licenses_licenseplan AS carried
      ON carried.tenant_id = balance.tenant_id AND carried.license_id = balance.subject_id
     AND carried.plan_id = balance.plan_id
    LEFT JOIN LATERAL (
        SELECT sum(same."limit") AS "limit"
        FROM licenses_licenseplan AS beside
        JOIN metering_quota AS same ON same.tenant_id = beside.tenant_id AND same.plan_id = beside.plan_id
        WHERE beside.tenant_id = balance.tenant_id AND beside.license_id = balance.subject_id
          AND (same.id = quota.id OR same.archived_at IS NULL AND same.scope = quota.scope
               AND same.meter_id = quota.meter_id AND same.filter = quota.filter AND same.period = quota.period
               AND same.anchor = quota.anchor)
    ) AS summed ON true
    WHERE balance.scope = 'license' AND balance.plan_id IS NOT NULL AND EXISTS (
        SELECT FROM asked
        WHERE asked.tenant_id = balance.tenant_id AND asked.subject_id = balance.subject_id
          AND asked.meter_id = balance.meter_id AND asked.filter = balance.filter
          AND balance.period_start < coalesce(asked.period_end, 'infinity')
          AND asked.period_start < coalesce(balance.period_end, 'infinity'))
)
"""

_EXCESS = """
WITH {billed}
SELECT mine.id, mine.tenant_id, mine.quota_id, mine.quota_key, mine.scope, mine.subject_id, mine.meter_id,
       coalesce(holder.giver_id, license.customer_id), mine.period_start, mine.period_end, mine.used,
       mine.quota_limit + mine.carried + burnt.quantity, mine.price_id
FROM billed AS mine
JOIN licenses_license AS license ON license.tenant_id = mine.tenant_id AND license.id = mine.subject_id
LEFT JOIN LATERAL (
    SELECT later.giver_id FROM licenses_licensetransfer AS later
    WHERE later.tenant_id = mine.tenant_id AND later.license_id = mine.subject_id AND later.at >= mine.period_end
    ORDER BY later.at, later.id LIMIT 1
) AS holder ON true
CROSS JOIN LATERAL (
    SELECT coalesce(sum(burn.quantity), 0) AS quantity FROM metering_topupburn AS burn
    WHERE burn.tenant_id = mine.tenant_id AND burn.balance_id = mine.id
) AS burnt
WHERE mine.id IN (SELECT id FROM asked)
  AND NOT EXISTS (
      SELECT FROM billed AS other
      WHERE other.tenant_id = mine.tenant_id AND other.subject_id = mine.subject_id
        AND other.meter_id = mine.meter_id AND other.filter = mine.filter AND other.id <> mine.id
        AND other.period_start < coalesce(mine.period_end, 'infinity')
        AND mine.period_start < coalesce(other.period_end, 'infinity') AND other.rank < mine.rank)
  {more}
ORDER BY mine.id
"""
_OVER = """
  AND mine.used > mine.quota_limit + mine.carried + burnt.quantity
  AND NOT EXISTS (
      SELECT FROM metering_overagerecord AS waived
      WHERE waived.tenant_id = mine.tenant_id AND waived.license_id = mine.subject_id
        AND waived.period_start = mine.period_start AND waived.balance_id = mine.id AND waived.status = 'voided')
"""
_BY_ID = _BILLED.format(which="id = ANY(%(balances)s::uuid[])")
_OF_OPEN = _EXCESS.format(billed=_BILLED.format(which="closed_at IS NULL"), more=_OVER)
_OF_SOME = _EXCESS.format(billed=_BY_ID, more=_OVER)
_STANDINGS = _EXCESS.format(billed=_BY_ID, more="")
#: With those that have no price: for one that is only proposed.
_PRICED_OR_NOT = _STANDINGS.replace("JOIN LATERAL (\n        SELECT price", "LEFT JOIN LATERAL (\n        SELECT price")


@dataclass(frozen=True, slots=True)
class Excess:
    """A billed balance, above its allowance unless said otherwise, and the price in force at the period's start.

    `allowance` is what is free of overage: the limits of base plan and add-ons, what was carried over, and what
    top-ups have taken. `customer_id` is who held the licence when the period ended, or holds it now.
    """

    balance_id: UUID
    tenant_id: UUID
    quota_id: UUID
    quota_key: UUID
    scope: str
    license_id: UUID
    meter_id: UUID
    customer_id: UUID
    period_start: datetime
    period_end: datetime | None
    used: Decimal
    allowance: Decimal
    price_id: UUID | None


def excess_of_licenses(licenses: Iterable[tuple[UUID, UUID]]) -> list[Excess]:
    """All open billed balances of these licences, given as (tenant, licence), that are above their allowance."""
    return _read(_OF_OPEN, licenses)


def excess_of_balances(balances: Iterable[UUID], licenses: Iterable[tuple[UUID, UUID]]) -> list[Excess]:
    """Those of these balances, of these licences, that are billed and above their allowance, closed or not."""
    return _read(_OF_SOME, licenses, balances=list(balances))


def billed_balances(balances: Iterable[UUID], licenses: Iterable[tuple[UUID, UUID]]) -> list[Excess]:
    """Those of these balances, of these licences, that are billed and used, whether or not anything is over."""
    return _read(_STANDINGS, licenses, balances=list(balances))


def standings_of_balances(balances: Iterable[UUID], licenses: Iterable[tuple[UUID, UUID]]) -> list[Excess]:
    """Those of these balances, of these licences, that are or could be billed; `price_id` is None without a price."""
    return _read(_PRICED_OR_NOT, licenses, balances=list(balances))


def _read(statement: str, licenses: Iterable[tuple[UUID, UUID]], **more: Any) -> list[Excess]:
    pairs = list(licenses)
    if not pairs:
        return []
    arguments = {"tenants": [tenant for tenant, _ in pairs], "licenses": [license for _, license in pairs], **more}
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        return [Excess(*row) for row in cursor.fetchall()]
