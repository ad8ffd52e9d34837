"""`quota.recovered`: what was exceeded is not any more, as a top-up came or a limit was raised.

What an event that is voided lifts, the ledger tells itself. All of this runs under the configuration lock, which keeps
the ledger away from balances.
"""

from collections.abc import Iterable
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Q

from common.ids import Prefix, encode_id
from common.quantities import format_quantity
from licenses.models import License
from metering.domain.allowances import is_exceeded
from metering.domain.crossings import EXCEEDED_MARK
from metering.domain.enums import Scope
from metering.domain.numbers import EXACT
from metering.domain.terms import QuotaTerms
from metering.models import Balance
from metering.selectors.bound import bound, with_allowances
from metering.selectors.quotas import customer_groups, license_groups, list_quotas
from metering.selectors.standings import Current, read_standings
from metering.services.ledger_notices import quota_data
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services.outbox import OutgoingEvent, emit_events


def tell_recovered(tenant: Tenant, keys: Iterable[UUID], *, subject_ids: Iterable[UUID] | None = None) -> int:
    """Tell of quotas of these keys that were exceeded in the running period and no longer are; how many.

    They can be exceeded, and told, again. Thresholds are told once in a period all the same.
    """
    at, timezone = clock_of(tenant).now(), ZoneInfo(tenant.timezone)
    told = Balance.objects.for_tenant(tenant).filter(
        Q(period_end__isnull=True) | Q(period_end__gt=at) | Q(period="rolling"),
        quota_key__in=list(keys),
        thresholds_fired__contains=[EXCEEDED_MARK],
        detached_at__isnull=True,
        period_start__lte=at,
    )
    if subject_ids is not None:
        told = told.filter(subject_id__in=list(subject_ids))
    # Workers that close periods lock balances too, in the order of their ids.
    locked = list(told.order_by("id").select_for_update())
    events = []
    done: set[tuple[UUID, UUID]] = set()
    for balance in locked:
        terms = _terms_of(tenant, balance)
        if terms is None:
            continue
        current = Current(tenant.id, balance.license_id or balance.subject_id, timezone, terms, at)
        if terms.rolling_seconds is None and terms.balance_id(current.window) != balance.id:
            continue
        [standing] = read_standings([current])
        allowance = EXACT.add(terms.limit, standing.extra)
        if is_exceeded(terms.mode, allowance, standing.used, standing.rest):
            continue
        balance.thresholds_fired = [each for each in balance.thresholds_fired if each != EXCEEDED_MARK]
        balance.save(update_fields=["thresholds_fired", "updated_at"])
        if current.owner in done:
            continue
        done.add(current.owner)
        data = quota_data(terms, current.window, customer_id=balance.customer_id, license_id=balance.license_id)
        data |= {"used": format_quantity(standing.used), "allowance": format_quantity(allowance)}
        subject = encode_id(Prefix.QUOTA, terms.id)
        events.append(OutgoingEvent(tenant_id=tenant.id, type="quota.recovered", subject=subject, data=data))
    if events:
        emit_events(events)
    return len(events)


def _terms_of(tenant: Tenant, balance: Balance) -> QuotaTerms | None:
    """The quota that a balance counts, as it is now; None where it applies no more."""
    starts_at = None
    if balance.license_id is not None:
        starts_at = License.objects.for_tenant(tenant).values_list("starts_at", flat=True).get(id=balance.license_id)
    if balance.plan_id is None:
        owner = {} if balance.scope == Scope.TENANT else {f"{balance.scope}_id": balance.subject_id}
        own = list_quotas(tenant).filter(plan__isnull=True, key=balance.quota_key, scope=balance.scope, **owner)
        groups = [[quota] for quota in own]
    elif balance.license_id is not None:
        groups = license_groups(tenant, balance.license_id)
    else:
        groups = customer_groups(tenant, balance.subject_id)
    group = next((group for group in groups if group[0].key == balance.quota_key), None)
    if group is None:
        return None
    terms = bound(group, balance.subject_id, anchored_at=starts_at)
    at = clock_of(tenant).now()
    [terms] = with_allowances(tenant.id, [terms], at=at, license_id=balance.license_id, starts_at=starts_at)
    return terms
