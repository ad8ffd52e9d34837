"""Where quotas stand: read without a lock, for any number of callers in one statement."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from metering.domain.allowances import Standing, standing_of
from metering.domain.balance_states import BalanceState
from metering.domain.enums import QuotaState
from metering.domain.numbers import EXACT, ZERO
from metering.domain.periods import Window
from metering.domain.quota_state import quota_state, remaining
from metering.domain.terms import Caller, QuotaTerms
from metering.selectors.standings import Current, Row, carried_into, read_beside

_STANDING = """
SELECT id, used, held, carried, burned, detached_at IS NOT NULL AND closed_at IS NULL FROM metering_balance
WHERE id = ANY(%s::uuid[]) AND tenant_id = ANY(%s::uuid[])
"""

# What expired holds still reserve is left out, though nobody may have swept it yet.
_STANDING_WITH_HOLDS = """
SELECT balance.id, balance.used, balance.held, coalesce((
    SELECT sum(line.reserved) FROM metering_holdline AS line
    WHERE line.balance_id = balance.id AND line.open AND line.expires_at <= asked.at), 0),
    balance.carried, balance.burned, balance.detached_at IS NOT NULL AND balance.closed_at IS NULL
FROM unnest(%s::uuid[], %s::timestamptz[]) AS asked (id, at)
JOIN metering_balance AS balance ON balance.id = asked.id
WHERE balance.tenant_id = ANY(%s::uuid[])
"""

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, eq=False)
class QuotaStatus:
    """A quota in its current period: what is used and held, what is left (never below 0), when it begins anew.

    `top_ups` is what top-ups add to the limit in this period, covered or left; `carried_over` what was left of the
    period before. In a rolling window `resets_at` is when something comes free.
    """

    quota: QuotaTerms
    standing: Standing
    remaining: Decimal
    state: QuotaState

    @classmethod
    def of(cls, quota: QuotaTerms, standing: Standing) -> "QuotaStatus":
        """The status that follows from how the balance stands."""
        used, held, extra = standing.used, standing.held, standing.extra
        state = quota_state(
            mode=quota.mode,
            limit=quota.limit,
            ceiling=quota.ceiling,
            used=used,
            held=held,
            top_ups=extra,
            rest=standing.rest,
            thresholds=quota.thresholds,
        )
        return cls(quota, standing, remaining(quota.limit, used, held, extra), state)

    @property
    def used(self) -> Decimal:
        return self.standing.used

    @property
    def held(self) -> Decimal:
        return self.standing.held

    @property
    def top_ups(self) -> Decimal:
        return self.standing.top_ups

    @property
    def carried_over(self) -> Decimal:
        return self.standing.carried

    @property
    def resets_at(self) -> datetime | None:
        return self.standing.resets_at


class CurrentPeriod(NamedTuple):
    """A quota, its period at some instant, and the balance that counts it."""

    quota: QuotaTerms
    balance_id: UUID
    window: Window


class CallerQuotas:
    """The quotas of one caller, and which balances count them now; kept as long as its snapshot.

    What is remembered stays true while the snapshot does: a balance that does not exist yet has had no event since
    its quota began to apply, or the event would have made it. `holding` says whether anything was held at the last
    look, `last` how each balance stood then.
    """

    __slots__ = ("_known", "caller", "holding", "last", "seeds")

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.holding = False
        self.last: dict[UUID, QuotaStatus] = {}
        self.seeds: dict[UUID, Row] = {}
        # One tuple, so that another thread never finds one period's edges around another's balances.
        self._known: tuple[datetime, datetime, tuple[CurrentPeriod, ...]] = (_LAST, _FIRST, ())

    def at(self, at: datetime) -> Sequence[CurrentPeriod]:
        """Every quota with its period at `at` (workspace time), in the caller's order."""
        start, end, current = self._known
        if start <= at < end:
            return current
        start, end = _FIRST, _LAST
        found = []
        for quota in self.caller.quotas:
            window = quota.window(at, self.caller.timezone)
            found.append(CurrentPeriod(quota, quota.balance_id(window), window))
            start = max(start, window.start)
            end = end if window.end is None else min(end, window.end)
        self._known = (start, end, tuple(found))
        return self._known[2]


class _Found(NamedTuple):
    """What a balance says; one that was `let_go` has missed events, and still knows what is held and was given."""

    row: Row
    let_go: bool


class Asked(NamedTuple):
    """Whose quotas, at which workspace time; `meters` (ids) narrows them down."""

    quotas: CallerQuotas
    at: datetime
    meters: Collection[UUID] | None = None

    def current(self) -> list[CurrentPeriod]:
        """The quotas that are asked for."""
        found = self.quotas.at(self.at)
        return [each for each in found if self.meters is None or each.quota.meter_id in self.meters]


def statuses_of(asked: Iterable[Asked]) -> list[list[QuotaStatus]]:
    """Where the quotas of each caller stand, in the order agent, parents, licence, customer, tenant, then by meter.

    One statement for all callers, none where nobody has a quota. A balance that does not exist yet is counted from
    its period's events, once for a snapshot.
    """
    wanted = [(each, each.current()) for each in asked]
    at_of = {period.balance_id: each.at for each, current in wanted for period in current}
    found = _read(wanted, at_of) if at_of else {}
    special = {
        period.balance_id: _current(each, period)
        for each, current in wanted
        for period in current
        if period.quota.is_special
    }
    beside = read_beside(special.values()) if special else None
    statuses = []
    for each, current in wanted:
        mine = []
        for period in current:
            row = _row(found.get(period.balance_id), each, period)
            if beside is not None and period.balance_id in special:
                standing = beside.standing(special[period.balance_id], row, period.window.end)
            else:
                standing = Standing(row.used, row.held, row.carried, row.burned, period.window.end)
            mine.append(_status(each.quotas, period, standing))
        statuses.append(mine)
    return statuses


def statuses_from(
    asked: Asked, balances: Mapping[UUID, BalanceState], shared: dict[UUID, QuotaStatus] | None = None
) -> list[QuotaStatus]:
    """The same from balances that were just read under lock, without any further read; others are left out.

    `shared` is for all callers of one batch: what several of them count on is worked out once.
    """
    found = []
    for period in asked.current():
        balance = balances.get(period.balance_id)
        if balance is None:
            continue
        status = None if shared is None else shared.get(balance.id)
        if status is None or not _shown_alike(status.quota, period.quota):
            status = _status(asked.quotas, period, standing_of(balance, asked.at))
            # With something beside its row, how it stands depends on whose clock is asked.
            if shared is not None and balance.beside is None:
                shared[balance.id] = status
        found.append(status)
    return found


def _shown_alike(one: QuotaTerms, other: QuotaTerms) -> bool:
    """Of two callers in one batch, whose terms are all current: the same row, with the same limits of others added."""
    return one is other or (one.id == other.id and one.limit == other.limit and one.ceiling == other.ceiling)


def _current(asked: Asked, period: CurrentPeriod) -> Current:
    caller = asked.quotas.caller
    return Current(caller.tenant_id, caller.license_id, caller.timezone, period.quota, asked.at)


def _row(found: _Found | None, asked: Asked, period: CurrentPeriod) -> Row:
    if found is None:
        return _seed(asked, period)
    return found.row._replace(used=_seed(asked, period).used) if found.let_go else found.row


def _read(
    wanted: Sequence[tuple[Asked, Sequence[CurrentPeriod]]], at_of: Mapping[UUID, datetime]
) -> dict[UUID, _Found]:
    """What balances say. The dearer statement is for those who hold something, as the last look told."""
    tenants = _array({each.quotas.caller.tenant_id.hex for each, _ in wanted})
    ids = _array(id.hex for id in at_of)
    with connection.cursor() as cursor:
        if not any(each.quotas.holding for each, _ in wanted):
            cursor.execute(_STANDING, [ids, tenants])
            plain = cursor.fetchall()
            if not any(held for _, _, held, *_ in plain):
                return {id: _Found(Row(*row), let_go) for id, *row, let_go in plain}
        cursor.execute(_STANDING_WITH_HOLDS, [ids, _array(f'"{at.isoformat()}"' for at in at_of.values()), tenants])
        rows = cursor.fetchall()
    holding = {id for id, _, held, *_ in rows if held}
    for each, current in wanted:
        each.quotas.holding = any(period.balance_id in holding for period in current)
    return {
        id: _Found(Row(used, EXACT.subtract(held, expired), carried, burned), let_go)
        for id, used, held, expired, carried, burned, let_go in rows
    }


def _array(words: Iterable[str]) -> str:
    # Literals are much cheaper than the driver's own dumping of lists.
    return "{" + ",".join(words) + "}"


def _status(quotas: CallerQuotas, period: CurrentPeriod, standing: Standing) -> QuotaStatus:
    last = quotas.last.get(period.balance_id)
    if last is None or last.standing != standing:
        last = QuotaStatus.of(period.quota, standing)
        quotas.last[period.balance_id] = last
    return last


def _seed(asked: Asked, period: CurrentPeriod) -> Row:
    seeds = asked.quotas.seeds
    known = seeds.get(period.balance_id)
    if known is None:
        current = _current(asked, period)
        used = ZERO if period.quota.rolling_seconds is not None else current.counted()
        known = Row(used, ZERO, carried_into(current), ZERO)
        if period.quota.carry_over is None:
            seeds[period.balance_id] = known
    return known
