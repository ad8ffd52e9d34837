"""What stands beside balances when they are read without a lock: top-ups in force, rolling windows, what is carried."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import F, Q, Sum

from metering.domain.allowances import RollingWindow, Standing, carried_of
from metering.domain.numbers import EXACT, ZERO
from metering.domain.periods import Window, rolling_buckets
from metering.domain.terms import QuotaTerms
from metering.models import Balance, HoldLine, TopUp
from metering.selectors.carrying import before, brought_into
from metering.selectors.usage_values import counted_value
from metering.selectors.windows import AskedWindow, read_windows

_Owner = tuple[UUID, UUID]


class Current(NamedTuple):
    """A quota in its period at some instant. `license_id` is looked at where the subject is an agent."""

    tenant_id: UUID
    license_id: UUID
    timezone: ZoneInfo
    quota: QuotaTerms
    at: datetime

    @property
    def window(self) -> Window:
        """The period, or the sub-bucket of a rolling window."""
        return self.quota.window(self.at, self.timezone)

    @property
    def owner(self) -> _Owner:
        return self.quota.key, self.quota.subject_id

    def counted(self, window: Window | None = None) -> Decimal:
        """What the events of the period come to, for one that has no balance yet."""
        window = window or self.window
        return counted_value(
            self.quota,
            self.quota.balance_id(window),
            tenant_id=self.tenant_id,
            license_id=self.license_id,
            window=window,
        )


class Row(NamedTuple):
    """What a balance says by itself; `held` without what expired holds reserve."""

    used: Decimal
    held: Decimal
    carried: Decimal
    burned: Decimal


@dataclass(slots=True)
class BesideRows:
    """What was read beside balances, by quota key and subject: the rest of top-ups in force, and rolling windows."""

    rests: Mapping[_Owner, Decimal] = field(default_factory=dict)
    windows: Mapping[_Owner, RollingWindow] = field(default_factory=dict)

    def standing(self, current: Current, row: Row, resets_at: datetime | None) -> Standing:
        """How a quota stands."""
        rest = self.rests.get(current.owner, ZERO)
        top_ups = EXACT.add(row.burned, rest)
        window = self.windows.get(current.owner)
        if window is None:
            return Standing(row.used, row.held, row.carried, top_ups, resets_at, rest)
        return Standing(window.in_force(current.at), window.held, row.carried, top_ups, window.frees_at(current.at))


def read_beside(asked: Collection[Current]) -> BesideRows:
    """What stands beside these quotas' balances: a statement for top-ups, one for windows, where there may be any."""
    return BesideRows(
        _rests([each for each in asked if each.quota.topped_up]),
        _windows([each for each in asked if each.quota.rolling_seconds is not None]),
    )


def carried_into(current: Current) -> Decimal:
    """What a period that has no balance yet begins with."""
    quota, window = current.quota, current.window
    if quota.carry_over is None:
        return ZERO
    last = before(current.tenant_id, quota, window, timezone=current.timezone, license_id=current.license_id)
    return carried_of(brought_into(quota, window, last, current.timezone), quota.carry_over.most)


def read_standings(asked: Sequence[Current]) -> list[Standing]:
    """How these quotas stand, in their order; a few reads, whatever their number."""
    windows = [each.window for each in asked]
    ids = [each.quota.balance_id(window) for each, window in zip(asked, windows, strict=True)]
    balances = Balance.objects.filter(tenant_id__in={each.tenant_id for each in asked}).in_bulk(ids)
    expired: dict[UUID, Decimal] = {}
    for at in {each.at for each in asked}:
        lines = HoldLine.objects.filter(balance_id__in=list(balances), open=True, expires_at__lte=at)
        expired |= dict(lines.values_list("balance_id").annotate(total=Sum("reserved")))
    beside = read_beside([each for each in asked if each.quota.is_special])
    found = []
    for each, window, id in zip(asked, windows, ids, strict=True):
        balance = balances.get(id)
        if balance is None:
            row = Row(ZERO, ZERO, carried_into(each), ZERO)
        else:
            held = EXACT.subtract(balance.held, expired.get(id, ZERO))
            row = Row(balance.used, held, balance.carried, balance.burned)
        if each.quota.rolling_seconds is None and (
            balance is None or (balance.detached_at is not None and balance.closed_at is None)
        ):
            row = row._replace(used=each.counted())
        found.append(beside.standing(each, row, window.end))
    return found


def _rests(asked: Collection[Current]) -> dict[_Owner, Decimal]:
    rests: dict[_Owner, Decimal] = {}
    if not asked:
        return rests
    at_of = {each.owner: each.at for each in asked}
    rows = TopUp.objects.filter(
        Q(expires_at__isnull=True) | Q(expires_at__gt=min(at_of.values())),
        tenant_id__in={each.tenant_id for each in asked},
        quota_key__in={key for key, _ in at_of},
        subject_id__in={subject_id for _, subject_id in at_of},
        voided_at__isnull=True,
        starts_at__lte=max(at_of.values()),
        used__lt=F("amount"),
    ).values_list("quota_key", "subject_id", "amount", "used", "starts_at", "expires_at")
    for key, subject_id, amount, used, starts_at, expires_at in rows:
        at = at_of.get((key, subject_id))
        if at is not None and starts_at <= at and (expires_at is None or at < expires_at):
            rest = rests.get((key, subject_id), ZERO)
            rests[key, subject_id] = EXACT.add(rest, EXACT.subtract(amount, used))
    return rests


def _windows(asked: Collection[Current]) -> dict[_Owner, RollingWindow]:
    windows: dict[_Owner, RollingWindow] = {}
    first_of: dict[_Owner, datetime] = {}
    rows: list[AskedWindow] = []
    for each in asked:
        seconds = each.quota.rolling_seconds or 0
        windows[each.owner] = RollingWindow(seconds, {}, ZERO)
        first_of[each.owner] = rolling_buckets(seconds, each.at).window_start
        rows.append(AskedWindow(each.tenant_id, *each.owner, first_of[each.owner], each.at))
    begun: set[_Owner] = set()
    for row in read_windows(rows):
        window = windows[row.owner]
        window.held = EXACT.add(window.held, row.held)
        if row.attached and row.start >= first_of[row.owner]:
            begun.add(row.owner)
            window.used[row.start] = row.used
    for each in asked:
        if each.owner not in begun:
            # Nothing has been counted under it in this window: what was used before it applied is not in balances.
            used = each.counted(Window(first_of[each.owner], None))
            windows[each.owner].used[rolling_buckets(each.quota.rolling_seconds or 0, each.at).bucket_start] = used
    return windows
