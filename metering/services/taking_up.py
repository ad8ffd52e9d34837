"""What a licence's plans bill counts what the running periods have seen, used again or not.

The ledger would see to it with the next event; a bill does not wait for one. So it is done where a licence takes
other plans, and where a plan takes a quota that can bill. Called under the configuration lock, which keeps the ledger
away from balances.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings

from common.clock import real_clock
from licenses.domain.enums import PlanRole
from licenses.models import License, LicensePlan
from licenses.selectors.access import load_license
from metering.domain.enums import QuotaMode, Scope
from metering.domain.periods import Window
from metering.domain.terms import Caller, QuotaTerms
from metering.models import Balance, Quota
from metering.selectors.bound import bound
from metering.selectors.quotas import counting, grouped, list_quotas
from metering.selectors.seeds import counted_by_license
from metering.selectors.terms import load_caller
from metering.services.balances import BalanceSpec, Start, ensure_balances, seeded
from tenants.models import Tenant
from tenants.selectors.clocks import workspace_time_of

#: Licences that are looked at in one go.
_AT_ONCE: Final = 1000


def take_up_balances(tenant: Tenant, license_id: UUID, *, at: datetime) -> None:
    """Make, or attach again, the balances of the periods that hold `at` of a licence's soft plan quotas."""
    attach_balances(tenant, _specs(tenant, license_id, at))


def take_up_plan_balances(tenant: Tenant, plan_id: UUID, quotas: Sequence[Quota], *, at: datetime) -> None:
    """The same for some soft quotas of scope license of a plan, and every licence that carries it and was used.

    A quota holds from ever, so of the period that has just ended as well, as long as that is not closed. A read and a
    write for each thousand licences, as far as their periods are the same.
    """
    rows = LicensePlan.objects.for_tenant(tenant).filter(plan_id=plan_id).order_by("license_id")
    carriers = list(rows.values_list("license_id", flat=True))
    for quota in quotas:
        alike = [
            each
            for each in list_quotas(tenant).filter(plan__isnull=False, meter_id=quota.meter_id, scope=Scope.LICENSE)
            if counting(each) == counting(quota)
        ]
        for first in range(0, len(carriers), _AT_ONCE):
            _take_up(tenant, alike, carriers[first : first + _AT_ONCE], at)


def attach_balances(
    tenant: Tenant, specs: Mapping[UUID, BalanceSpec], *, known: Mapping[UUID, Decimal] | None = None
) -> None:
    """Make these balances, or attach them again with what they have missed.

    `known` is what the events of some come to, where that was worked out before.
    """
    known = known or {}
    ensure_balances(specs, known=known)
    let_go = Balance.objects.for_tenant(tenant).filter(
        id__in=list(specs), detached_at__isnull=False, closed_at__isnull=True
    )
    now = real_clock().now()
    attached = list(let_go.order_by("id").select_for_update())
    for balance in attached:
        start = Start(known[balance.id]) if balance.id in known else seeded(balance.id, specs[balance.id])
        balance.used, balance.latest_at, balance.detached_at, balance.updated_at = (
            start.value,
            start.latest_at,
            None,
            now,
        )
    Balance.objects.bulk_update(attached, ["used", "latest_at", "detached_at", "updated_at"], batch_size=_AT_ONCE)


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


def _take_up(tenant: Tenant, alike: Sequence[Quota], license_ids: Sequence[UUID], at: datetime) -> None:
    """`alike` are all plans' quotas that count the same: what a licence carries of them is one."""
    timezone = ZoneInfo(tenant.timezone)
    by_window: dict[Window, dict[UUID, BalanceSpec]] = defaultdict(dict)
    grace: timedelta = settings.PERMETER_CLOSE_GRACE
    for license, terms in _terms(tenant, alike, license_ids):
        caller = Caller(
            tenant_id=tenant.id,
            customer_id=license.customer_id,
            license_id=license.id,
            agent_id=None,
            agent_path=(),
            timezone=timezone,
            meters={},
            quotas=(terms,),
            epochs=(),
        )
        for window in {terms.window(at, timezone), terms.window(at - grace, timezone)}:
            if terms.held_in(window):
                by_window[window][terms.balance_id(window)] = BalanceSpec(caller, terms, window)
    for window, specs in by_window.items():
        used = counted_by_license(
            tenant_id=tenant.id,
            meter_id=alike[0].meter_id,
            filter=alike[0].filter,
            window=window,
            balances={spec.caller.license_id: id for id, spec in specs.items()},
        )
        seen = {id: spec for id, spec in specs.items() if spec.caller.license_id in used}
        adding_up = {id: used[spec.caller.license_id] for id, spec in seen.items() if spec.quota.aggregation.adds_up}
        attach_balances(tenant, seen, known=adding_up)


def _terms(tenant: Tenant, alike: Iterable[Quota], license_ids: Sequence[UUID]) -> Iterator[tuple[License, QuotaTerms]]:
    """Each licence with what it carries of these quotas, as far as that is soft."""
    quotas_of: dict[UUID, list[Quota]] = defaultdict(list)
    for quota in alike:
        if quota.plan_id is not None:
            quotas_of[quota.plan_id].append(quota)
    carried: dict[UUID, list[LicensePlan]] = defaultdict(list)
    for row in LicensePlan.objects.for_tenant(tenant).filter(license_id__in=license_ids):
        carried[row.license_id].append(row)
    shown = workspace_time_of(tenant)
    for license in License.objects.for_tenant(tenant).filter(id__in=license_ids).order_by("id"):
        rows = carried[license.id]
        base = next((row.plan_id for row in rows if row.role == PlanRole.BASE), None)
        mine = [quota for row in rows for quota in quotas_of.get(row.plan_id, ())]
        for group in grouped(mine, base_plan_id=base):
            terms = bound(group, license.id, anchored_at=license.starts_at)
            if terms.mode is not QuotaMode.SOFT:
                continue
            if terms.carry_over is not None:
                taken = next(row.created_at for row in rows if row.plan_id == terms.plan_id)
                since = max(terms.carry_over.since, license.starts_at, shown(taken))
                terms = replace(terms, carry_over=replace(terms.carry_over, since=since))
            taken_at = next(row.since for row in rows if row.plan_id == terms.plan_id)
            yield license, replace(terms, taken_at=taken_at)
