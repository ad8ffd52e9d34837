"""Letting go of balances whose quota stops applying, so that they count afresh should it apply again.

A detached balance misses what happens meanwhile; the ledger seeds it anew from the events of its period before it is
used again. So detaching one too many costs a recount and changes no number.
"""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import Q

from licenses.models import Agent, LicensePlan
from metering.domain.enums import Anchor, Period, Scope
from metering.models import Balance, Quota
from metering.selectors.quotas import counting, customer_groups, first_keys, license_groups
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of


def detach_balances(tenant: Tenant, keys: Iterable[UUID], *, subject_ids: Iterable[UUID] | None = None) -> int:
    """Detach the open balances of these quota keys, of all subjects or of some; returns how many.

    Of rolling windows the closed ones as well: their windows go on, so that there is a gap in what they have seen.
    Called under the configuration lock, which keeps the ledger away from balances.
    """
    balances = Balance.objects.for_tenant(tenant).filter(
        Q(closed_at__isnull=True) | Q(period=Period.ROLLING), quota_key__in=list(keys), detached_at__isnull=True
    )
    if subject_ids is not None:
        balances = balances.filter(subject_id__in=list(subject_ids))
    # Workers that close periods lock balances too, in the order of their ids.
    locked = list(balances.order_by("id").select_for_update().values_list("id", flat=True))
    return Balance.objects.filter(id__in=locked).update(detached_at=clock_of(tenant).now())


def detach_replaced(tenant: Tenant, quota: Quota) -> int:
    """Detach balances of other plans' quotas that a new plan quota may take over, as one licence carries both plans."""
    if quota.plan_id is None:
        return 0
    carried = LicensePlan.objects.for_tenant(tenant)
    neighbors = carried.filter(license__in=carried.filter(plan_id=quota.plan_id).values("license_id"))
    others = Quota.objects.for_tenant(tenant).filter(
        plan_id__in=neighbors.exclude(plan_id=quota.plan_id).values("plan_id"),
        scope=quota.scope,
        meter_id=quota.meter_id,
        period=quota.period,
        archived_at__isnull=True,
    )
    keys = [other.key for other in others if counting(other) == counting(quota)]
    return detach_balances(tenant, keys) if keys else 0


def detach_anchored(tenant: Tenant, license_id: UUID) -> int:
    """Detach the balances of quotas that are anchored to this licence's start, which moves; returns how many."""
    keys = Quota.objects.for_tenant(tenant).filter(anchor=Anchor.LICENSE).values_list("key", flat=True).distinct()
    return detach_balances(tenant, keys, subject_ids=[license_id, *_agents_of(tenant, license_id)])


class CarriedKeys:
    """The plan quotas that apply under a licence, as they stood: `detach_vanished` compares them with those now."""

    def __init__(self, tenant: Tenant, *, license_id: UUID, customer_id: UUID) -> None:
        self._tenant = tenant
        self._license_id = license_id
        self._customer_id = customer_id
        self._before = self._read()

    def detach_vanished(self) -> int:
        """Detach the balances of plan quotas that applied before and no longer do; returns how many."""
        now = self._read()
        gone = {key: scope for key, scope in self._before.items() if key not in now}
        detached = 0
        for key, scope in gone.items():
            match Scope(scope):
                case Scope.AGENT:
                    subjects = _agents_of(self._tenant, self._license_id)
                case Scope.LICENSE:
                    subjects = [self._license_id]
                case _:
                    subjects = [self._customer_id]
            detached += detach_balances(self._tenant, [key], subject_ids=subjects)
        return detached

    def _read(self) -> dict[UUID, str]:
        return {
            **first_keys(license_groups(self._tenant, self._license_id)),
            **first_keys(customer_groups(self._tenant, self._customer_id)),
        }


def _agents_of(tenant: Tenant, license_id: UUID) -> list[UUID]:
    return list(Agent.objects.for_tenant(tenant).filter(license_id=license_id).values_list("id", flat=True))
