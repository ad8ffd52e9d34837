"""What periods leave to the next: the last balance before a period, and what is brought over from it."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from metering.domain.allowances import brought_over
from metering.domain.numbers import ZERO
from metering.domain.periods import Window, windows_between
from metering.domain.terms import QuotaTerms
from metering.models import Balance
from metering.selectors.usage_values import counted_value


class Before(NamedTuple):
    """A balance of an earlier period: what it has used, was given, and had covered by top-ups."""

    id: UUID
    start: datetime
    used: Decimal
    carried: Decimal
    burned: Decimal


def before(
    tenant_id: UUID, quota: QuotaTerms, window: Window, *, timezone: ZoneInfo, license_id: UUID | None
) -> Before | None:
    """The last balance before a period in which anything was counted for this quota and subject.

    The period in which carrying over began may have none, or one that was let go: its events were there before. They
    count as they would have with the next event. `license_id` is looked at for agents only.
    """
    row = (
        Balance.objects.for_tenant(tenant_id)
        .filter(quota_key=quota.key, subject_id=quota.subject_id, period_start__lt=window.start)
        .order_by("-period_start")
        .values_list("id", "period_start", "used", "carried", "burned", "detached_at", "closed_at")
        .first()
    )
    last = None if row is None else Before._make(row[:5])
    if quota.carry_over is None:
        return last
    first = quota.window(quota.carry_over.since, timezone)
    id = quota.balance_id(first)
    let_go = row is not None and row[0] == id and row[5] is not None and row[6] is None
    if first.start >= window.start or (last is not None and last.start >= first.start and not let_go):
        return last
    used = counted_value(quota, id, tenant_id=tenant_id, license_id=license_id, window=first)
    if last is not None and let_go:
        return last._replace(used=used)
    return Before(id, first.start, used, ZERO, ZERO) if used else last


def brought_into(quota: QuotaTerms, window: Window, last: Before | None, timezone: ZoneInfo) -> Decimal:
    """What a period that has no balance yet begins with, also below 0.

    Periods without a balance had no use. Only those count that ended after carrying over began.
    """
    carry_over = quota.carry_over
    if carry_over is None:
        return ZERO
    first = quota.window(carry_over.since, timezone).start
    if first >= window.start:
        return ZERO
    figures = None
    if last is not None and last.start >= first:
        figures = (last.used, last.carried, last.burned)
        following = quota.window(last.start, timezone).end
        first = window.start if following is None else following
    between = windows_between(
        quota.period,
        start=first,
        end=window.start,
        timezone=timezone,
        anchor=quota.anchor,
        anchored_at=quota.anchored_at,
    )
    return brought_over(limit=quota.limit, most=carry_over.most, before=figures, unused=sum(1 for _ in between))
