"""A licence's plans changed: what its new quotas bill counts what the running periods have seen, used again or not.

The ledger would see to it with the next event; a bill does not wait for one.
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from licenses.selectors.access import load_license
from metering.domain.enums import QuotaMode, Scope
from metering.models import Balance
from metering.selectors.terms import load_caller
from metering.services.balances import BalanceSpec, ensure_balances, seeded
from tenants.models import Tenant


def take_up_balances(tenant: Tenant, license_id: UUID, *, at: datetime) -> None:
    """Make, or attach again, the balances of the periods that hold `at` of a licence's soft plan quotas.

    Called under the configuration lock, which keeps the ledger away from balances.
    """
    attach_balances(tenant, _specs(tenant, license_id, at))


def attach_balances(tenant: Tenant, specs: Mapping[UUID, BalanceSpec]) -> None:
    """Make these balances, or attach them again with what they have missed. Under the configuration lock."""
    ensure_balances(specs)
    let_go = Balance.objects.for_tenant(tenant).filter(
        id__in=list(specs), detached_at__isnull=False, closed_at__isnull=True
    )
    for balance in let_go.order_by("id").select_for_update():
        start = seeded(balance.id, specs[balance.id])
        balance.used, balance.latest_at, balance.detached_at = start.value, start.latest_at, None
        balance.save(update_fields=["used", "latest_at", "detached_at", "updated_at"])


def _specs(tenant: Tenant, license_id: UUID, at: datetime) -> Mapping[UUID, BalanceSpec]:
    access = load_license(tenant.id, license_id)
    if access is None:
        return {}
    caller = load_caller(access)
    specs = {}
    for quota in caller.quotas:
        if (quota.scope, quota.mode) == (Scope.LICENSE, QuotaMode.SOFT) and quota.plan_id is not None:
            window = quota.window(at, caller.timezone)
            specs[quota.balance_id(window)] = BalanceSpec(caller, quota, window)
    return specs
