"""Balances of meters that do not add up (max, unique, latest), one by one: what of them a single query does not tell.

Where months are gone, the base says what they had come to; of a unique meter the values themselves are kept beside the
balance, and are then what its number is held against.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import Q

from metering.domain.enums import Aggregation, Scope
from metering.domain.periods import Window
from metering.models import Balance, BalanceValue, LateEntry
from metering.selectors.usage_values import BalanceScope, standing_of, values_of

_PORTION = 500


@dataclass(frozen=True, slots=True)
class ValueProof:
    """A balance that is not what its events' values come to. If the numbers agree, the values kept beside it do not."""

    id: UUID
    tenant_id: UUID
    subject_id: UUID
    period_start: datetime
    used: Decimal
    sought: Decimal
    scope: BalanceScope


def differing_values(
    tenants: Sequence[UUID] | None, *, kept_since: datetime | None, rest: bool = False
) -> Iterator[ValueProof]:
    """Those that differ, of all workspaces or of some; with `rest` only what `unequal_values` leaves out.

    Left out is a balance that was let go, which is seeded anew before it counts again, and one that counted late events
    of a month that is gone.
    """
    balances = Balance.objects.filter(detached_at__isnull=True).exclude(
        meter__aggregation__in=[each for each in Aggregation if each.adds_up]
    )
    if rest:
        older = Q(period_start__lt=kept_since) if kept_since else Q(pk__in=[])
        balances = balances.filter(older | Q(meter__aggregation=Aggregation.UNIQUE))
    if tenants is not None:
        balances = balances.filter(tenant_id__in=tenants)
    for balance in balances.select_related("meter").order_by("id").iterator(_PORTION):
        if kept_since is not None and _has_gone_late_events(balance, kept_since):
            continue
        scope = scope_of(balance)
        is_whole = kept_since is None or balance.period_start >= kept_since
        sought, agree = _sought(balance, scope, is_whole=is_whole)
        if rest and is_whole and balance.used != sought:
            continue
        if balance.used != sought or not agree:
            yield ValueProof(
                balance.id, balance.tenant_id, balance.subject_id, balance.period_start, balance.used, sought, scope
            )


def _sought(balance: Balance, scope: BalanceScope, *, is_whole: bool) -> tuple[Decimal, bool]:
    """What it should have used, and whether the values beside it are those of its events."""
    if scope.aggregation is Aggregation.UNIQUE:
        seen = values_of(scope)
        kept = dict(BalanceValue.objects.filter(balance=balance, events__gt=0).values_list("id", "events"))
        if is_whole:
            return Decimal(len(seen)), seen == kept
        return Decimal(len(kept)), all(kept.get(id, 0) >= events for id, events in seen.items())
    standing = standing_of(scope)
    if is_whole:
        return standing.value, True
    if scope.aggregation is Aggregation.LATEST:
        return (standing.value if standing.event_id else balance.base), True
    return max(balance.base, standing.value), True


def scope_of(balance: Balance) -> BalanceScope:
    """Which events count in this balance; its meter is read with it."""
    return BalanceScope(
        id=balance.id,
        tenant_id=balance.tenant_id,
        meter_id=balance.meter_id,
        aggregation=Aggregation(balance.meter.aggregation),
        value_from=balance.meter.value_from,
        scope=Scope(balance.scope),
        subject_id=balance.subject_id,
        license_id=balance.license_id,
        filter=balance.filter,
        window=Window(balance.period_start, balance.period_end),
    )


def _has_gone_late_events(balance: Balance, kept_since: datetime) -> bool:
    late = LateEntry.objects.for_tenant(balance.tenant_id).filter(balance=balance, occurred_at__lt=kept_since)
    return late.exists()
