"""Balances of meters whose events do not add up, worked out anew from the events that still stand.

The largest, the latest and the number of different values do not follow from what one event less would be. Of months
whose events are gone the balance's base says what they had come to, and the values beside it what they had seen.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from django.db.models import F

from metering.domain.counting import value_id
from metering.domain.enums import Aggregation, EventFlag
from metering.domain.numbers import plain
from metering.models import Balance, BalanceValue, UsageEvent
from metering.selectors.history import kept_since
from metering.selectors.kept_values import scope_of
from metering.selectors.usage_values import standing_of
from metering.services.balance_values import seed_values


def recount_balances(tenant_id: UUID, taken_back: Mapping[UUID, Collection[UUID]]) -> None:
    """Set what these balances have used, now that the events (ids by balance) were taken back from them.

    Inside the caller's transaction, under its lock.
    """
    if not taken_back:
        return
    since = kept_since()
    found = Balance.objects.for_tenant(tenant_id).select_related("meter").filter(id__in=list(taken_back))
    for balance in found.order_by("id"):
        gone = since if since is not None and balance.period_start < since else None
        if balance.meter.aggregation == Aggregation.UNIQUE:
            _recount_values(balance, taken_back[balance.id], is_whole=gone is None)
        else:
            _recount_standing(balance, gone)
        balance.save(update_fields=["used", "latest_at", "updated_at"])


def _recount_standing(balance: Balance, gone: datetime | None) -> None:
    """`gone`: events before it are not kept any more, and the balance had some of that time."""
    standing = standing_of(scope_of(balance))
    balance.used = standing.value
    if balance.meter.aggregation == Aggregation.LATEST:
        balance.latest_at = standing.at
        if gone is not None and standing.event_id is None:
            # Whatever is still kept, or comes, is newer than what was dropped.
            balance.used, balance.latest_at = balance.base, gone
    elif gone is not None:
        balance.used = max(balance.base, standing.value)


def _recount_values(balance: Balance, taken_back: Collection[UUID], *, is_whole: bool) -> None:
    scope = scope_of(balance)
    if is_whole:
        seed_values(scope)
    else:
        events = UsageEvent.objects.for_tenant(balance.tenant_id).filter(id__in=list(taken_back))
        for event in events.exclude(flags__contains=[EventFlag.NOT_COUNTED]):
            text = event.dimensions.get(scope.value_from, "") if scope.value_from else plain(event.quantity)
            seen = BalanceValue.objects.filter(id=value_id(balance.id, text), events__gt=0)
            seen.update(events=F("events") - 1)
    balance.used = BalanceValue.objects.filter(balance=balance, events__gt=0).count()
