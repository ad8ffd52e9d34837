"""Balances of meters whose events do not add up, worked out anew from the events that still stand.

The largest, the latest and the number of different values do not follow from what one event less would be.
"""

from collections.abc import Iterable
from uuid import UUID

from metering.domain.enums import Aggregation, Scope
from metering.domain.periods import Window
from metering.models import Balance
from metering.selectors.usage_values import BalanceScope, standing_of
from metering.services.balance_values import seed_values


def recount_balances(tenant_id: UUID, balances: Iterable[UUID]) -> None:
    """Set what these balances have used from the events that stand. Inside the caller's transaction, under its lock."""
    found = Balance.objects.for_tenant(tenant_id).select_related("meter").filter(id__in=list(balances)).order_by("id")
    for balance in found:
        aggregation = Aggregation(balance.meter.aggregation)
        scope = BalanceScope(
            id=balance.id,
            tenant_id=tenant_id,
            meter_id=balance.meter_id,
            aggregation=aggregation,
            value_from=balance.meter.value_from,
            scope=Scope(balance.scope),
            subject_id=balance.subject_id,
            license_id=balance.license_id,
            filter=balance.filter,
            window=Window(balance.period_start, balance.period_end),
        )
        standing = standing_of(scope)
        balance.used = standing.value
        if aggregation is Aggregation.LATEST:
            balance.latest_at = standing.at
        if aggregation is Aggregation.UNIQUE:
            seed_values(scope)
        balance.save(update_fields=["used", "latest_at", "updated_at"])
