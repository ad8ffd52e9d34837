"""What a customer's statement of a month is made of: billed balances, overage records, corrections not billed yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q

from metering.domain.enums import OverageStatus
from metering.models import OverageRecord, Statement
from metering.selectors.billing import Excess, billed_balances
from tenants.models import Tenant, TenantQuerySet

# Whoever held the licence when a period ended pays for it; a transfer names who gave it away.
_BALANCES = """
SELECT balance.id, balance.subject_id FROM metering_balance AS balance
JOIN licenses_license AS license ON license.tenant_id = balance.tenant_id AND license.id = balance.subject_id
WHERE balance.tenant_id = %(tenant)s AND balance.scope = 'license' AND balance.plan_id IS NOT NULL
  AND balance.used <> 0 AND balance.period_end > %(start)s AND balance.period_end <= %(end)s
  AND balance.subject_id IN (
      SELECT id FROM licenses_license WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s
      UNION SELECT license_id FROM licenses_licensetransfer WHERE tenant_id = %(tenant)s AND giver_id = %(customer)s)
ORDER BY balance.id
"""

_OPEN = """
SELECT EXISTS (
    SELECT FROM metering_balance AS balance
    WHERE balance.tenant_id = %(tenant)s AND balance.scope = 'license' AND balance.plan_id IS NOT NULL
      AND balance.closed_at IS NULL AND balance.period_end <= %(end)s
      AND balance.subject_id IN (
          SELECT id FROM licenses_license WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s
          UNION SELECT license_id FROM licenses_licensetransfer
          WHERE tenant_id = %(tenant)s AND giver_id = %(customer)s))
"""

# Oldest first, so that what is corrected is billed before its correction.
_DUE = """
SELECT customer_id, min(period_end) FROM metering_overagerecord
WHERE tenant_id = %(tenant)s AND statement_id IS NULL AND status IN ('finalized', 'credit')
GROUP BY customer_id HAVING min(period_end) <= %(by)s
UNION
SELECT customer_id, min(voided_at) FROM metering_overagerecord
WHERE tenant_id = %(tenant)s AND status = 'voided' AND statement_id IS NOT NULL AND void_statement_id IS NULL
GROUP BY customer_id HAVING min(voided_at) <= %(by)s
"""


@dataclass(frozen=True, slots=True)
class Material:
    """All that goes onto one statement, in its order.

    `standings` are the billed balances of periods that ended in it, over or not; `records` those that it bills, open
    ones too for a draft; `voided` those that an earlier statement billed and that are owed no more.
    """

    standings: Sequence[Excess]
    records: Sequence[OverageRecord]
    voided: Sequence[OverageRecord]

    @property
    def is_owed(self) -> bool:
        """Whether anything is charged or given back."""
        return bool(self.voided) or any(record.status != OverageStatus.OPEN for record in self.records)


def material_for(tenant: Tenant, customer_id: UUID, start: datetime, end: datetime) -> Material:
    """What a statement of [start, end) holds as things are: what ended in it, and what earlier ones could not know."""
    arguments: dict[str, Any] = {"tenant": tenant.id, "customer": customer_id, "start": start, "end": end}
    with connection.cursor() as cursor:
        cursor.execute(_BALANCES, arguments)
        found = cursor.fetchall()
    licenses = {(tenant.id, license) for _, license in found}
    standings = [each for each in billed_balances([id for id, _ in found], licenses) if each.customer_id == customer_id]
    of_customer = OverageRecord.objects.for_tenant(tenant).filter(customer_id=customer_id).select_related("meter")
    mine = Q(status=OverageStatus.OPEN, period_end__gt=start, period_end__lte=end) | Q(
        status__in=[OverageStatus.FINALIZED, OverageStatus.CREDIT], statement__isnull=True, period_end__lte=end
    )
    taken_back = of_customer.filter(
        status=OverageStatus.VOIDED, statement__isnull=False, void_statement__isnull=True, period_end__lte=end
    )
    return Material(standings, list(of_customer.filter(mine).order_by("id")), list(taken_back.order_by("id")))


def has_open_periods(tenant: Tenant, customer_id: UUID, end: datetime) -> bool:
    """Whether a billed period of the customer that ended by then is not closed yet."""
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, {"tenant": tenant.id, "customer": customer_id, "end": end})
        found: bool = cursor.fetchone()[0]
    return found


def customers_to_bill(tenant_id: UUID, by: datetime) -> list[tuple[UUID, datetime]]:
    """Customers with records on no statement that were due `by` then, and when the oldest of them became due."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE, {"tenant": tenant_id, "by": by})
        oldest: dict[UUID, datetime] = {}
        for customer_id, at in cursor.fetchall():
            oldest[customer_id] = min(at, oldest.get(customer_id, at))
    return sorted(oldest.items())


def tenants_to_bill() -> list[UUID]:
    """Workspaces with records on no statement yet, or with voids of what was on one."""
    unbilled = Q(statement__isnull=True, status__in=[OverageStatus.FINALIZED, OverageStatus.CREDIT])
    voided = Q(statement__isnull=False, status=OverageStatus.VOIDED, void_statement__isnull=True)
    found = OverageRecord.objects.filter(unbilled | voided).order_by("tenant_id")
    return list(found.values_list("tenant_id", flat=True).distinct())


def statements_of(tenant_id: UUID) -> TenantQuerySet[Statement]:
    """All issued statements."""
    return Statement.objects.for_tenant(tenant_id)
