"""What a balance may use beside its quota's limit: what was carried over, what top-ups cover, what a window saw before.

Few balances have any of it; those that do have a `Beside`. Everything here is pure and leaves the states as a batch
leaves them. Amounts are exact decimals in the meter's unit, times are workspace times.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from metering.domain.enums import QuotaMode
from metering.domain.numbers import EXACT, ZERO
from metering.domain.periods import leaves_window, rolling_buckets

if TYPE_CHECKING:
    from metering.domain.balance_states import BalanceState
    from metering.domain.terms import QuotaTerms

_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class TopUpState:
    """A top-up under lock; `burnt` is what this batch takes from it, by balance."""

    id: UUID
    left: Decimal
    starts_at: datetime
    expires_at: datetime | None = None
    priority: int = 0
    made_at: datetime = _LAST
    burnt: dict[UUID, Decimal] = field(default_factory=dict)

    @property
    def order(self) -> tuple[int, datetime, datetime, UUID]:
        """By priority (the smaller number first), then soonest expiry, then age."""
        return self.priority, self.expires_at or _LAST, self.made_at, self.id

    def in_force(self, at: datetime) -> bool:
        """Whether it covers what is counted at `at`: from its start on, and no longer at its very expiry."""
        return self.starts_at <= at and (self.expires_at is None or at < self.expires_at)


@dataclass(slots=True)
class RollingWindow:
    """A rolling window's sub-buckets: what each has used, by its start, and what holds reserve in any of them."""

    seconds: int
    used: dict[datetime, Decimal]
    held: Decimal
    told: frozenset[int] = frozenset()

    def in_force(self, at: datetime) -> Decimal:
        """What counts at `at`: the sub-bucket that is filling, the 60 before it, and any by a clock that is ahead."""
        first = rolling_buckets(self.seconds, at).window_start
        total = ZERO
        for start, used in self.used.items():
            if start >= first:
                total = EXACT.add(total, used)
        return total

    def frees_at(self, at: datetime) -> datetime | None:
        """When the first of what counts at `at` leaves the window; None where nothing counts."""
        first = rolling_buckets(self.seconds, at).window_start
        oldest = min((start for start, used in self.used.items() if start >= first and used), default=None)
        return None if oldest is None else leaves_window(self.seconds, oldest)


@dataclass(slots=True)
class Beside:
    """What a balance has beside its row. `top_ups` stand in the order in which they burn.

    `after` is the balance of the next period, if that has begun: what this one leaves goes on to it. `brought` is what
    the period before left, also below 0; of that `carried` counts, at most `carry_most` (None: all of it).
    """

    top_ups: Sequence[TopUpState] = ()
    window: RollingWindow | None = None
    bucket: datetime | None = None
    after: "BalanceState | None" = None
    brought: Decimal = ZERO
    carried: Decimal = ZERO
    carry_most: Decimal | None = None
    moved: bool = False


class Standing(NamedTuple):
    """How a balance stands: `top_ups` is what top-ups have covered in it, and the `rest` of those in force."""

    used: Decimal
    held: Decimal
    carried: Decimal
    top_ups: Decimal
    resets_at: datetime | None
    rest: Decimal = ZERO

    @property
    def extra(self) -> Decimal:
        """What may be used beside the limit."""
        return EXACT.add(self.carried, self.top_ups)


def standing_of(balance: "BalanceState", at: datetime) -> Standing:
    """How a balance under lock stands at `at`."""
    covered = EXACT.add(balance.extra, balance.burned)
    beside = balance.beside
    if beside is None:
        return Standing(balance.used, balance.held, ZERO, covered, balance.period_end)
    left = rest(beside.top_ups, at)
    top_ups = EXACT.add(EXACT.subtract(covered, beside.carried), left)
    window = beside.window
    if window is not None:
        return Standing(window.in_force(at), window.held, beside.carried, top_ups, window.frees_at(at))
    return Standing(balance.used, balance.held, beside.carried, top_ups, balance.period_end, left)


def rest(top_ups: Iterable[TopUpState], at: datetime) -> Decimal:
    """What is left of the top-ups in force at `at`."""
    total = ZERO
    for top_up in top_ups:
        if top_up.left and top_up.in_force(at):
            total = EXACT.add(total, top_up.left)
    return total


def is_exceeded(mode: QuotaMode, allowance: Decimal, used: Decimal, rest: Decimal) -> bool:
    """Whether a hard quota is used up, or a soft one has overage: what top-ups still have covers nothing that was."""
    return used > 0 and (used >= allowance if mode is QuotaMode.HARD else used > EXACT.subtract(allowance, rest))


def use(balance: "BalanceState", quota: "QuotaTerms", quantity: Decimal, at: datetime) -> None:
    """What follows where `quantity` more (or, if negative, less) was used of a balance with a `Beside` at `at`.

    Its own allowance goes first, then top-ups in force; what they cover of `quantity` is theirs for good, so a limit
    that is raised or an event that is voided later gives nothing back to them: it leaves room in this period.
    """
    beside = balance.beside
    if beside is None:
        return
    if beside.window is not None and beside.bucket is not None:
        used = beside.window.used
        used[beside.bucket] = EXACT.add(used.get(beside.bucket, ZERO), quantity)
    # What a closed period has too much is billed by a correction: a top-up would pay for it a second time.
    burns = beside.top_ups and not balance.closed
    burnt = _burn(balance, beside, quota.limit, quantity, at) if burns else ZERO
    if beside.after is not None:
        _pass_on(beside.after, EXACT.subtract(burnt, quantity))


def hold(balance: "BalanceState", quantity: Decimal) -> None:
    """Reserve that much more (or, if negative, less) in a balance's rolling window, if it has one."""
    if balance.beside is not None and balance.beside.window is not None:
        window = balance.beside.window
        window.held = EXACT.add(window.held, quantity)


def _burn(balance: "BalanceState", beside: Beside, limit: Decimal, quantity: Decimal, at: datetime) -> Decimal:
    own = EXACT.add(EXACT.add(limit, balance.extra), balance.burned)
    open_ = min(quantity, EXACT.subtract(balance.used, own))
    burnt = ZERO
    for top_up in beside.top_ups:
        if open_ <= 0:
            break
        taken = min(open_, top_up.left) if top_up.in_force(at) else ZERO
        if taken > 0:
            top_up.left = EXACT.subtract(top_up.left, taken)
            top_up.burnt[balance.id] = EXACT.add(top_up.burnt.get(balance.id, ZERO), taken)
            open_ = EXACT.subtract(open_, taken)
            burnt = EXACT.add(burnt, taken)
    balance.burned = EXACT.add(balance.burned, burnt)
    return burnt


def _pass_on(balance: "BalanceState | None", more: Decimal) -> None:
    """The period before left `more` (or, if negative, less) than was known: carry it on, period by period."""
    while balance is not None and more and balance.beside is not None and not balance.closed:
        beside = balance.beside
        beside.brought = EXACT.add(beside.brought, more)
        carried = carried_of(beside.brought, beside.carry_most)
        more = EXACT.subtract(carried, beside.carried)
        beside.carried = carried
        beside.moved = True
        balance.extra = EXACT.add(balance.extra, more)
        balance = beside.after


def carried_of(brought: Decimal, most: Decimal | None) -> Decimal:
    """What counts of what the period before left: never below 0, at most `most`."""
    kept = max(ZERO, brought)
    return kept if most is None else min(kept, most)


def brought_over(
    *, limit: Decimal, most: Decimal | None, before: tuple[Decimal, Decimal, Decimal] | None, unused: int
) -> Decimal:
    """What a period begins with. `before` is (used, carried, burned) of the last period in which anything was counted,
    `unused` the number of periods since then, or since carrying over began, in which nothing was.
    """
    left = ZERO
    if before is not None:
        used, carried, burned = before
        left = EXACT.subtract(EXACT.add(EXACT.add(limit, carried), burned), used)
    if not unused:
        return left
    carried = carried_of(left, most)
    # Each unused period passes on its limit and what it was given itself, up to the most.
    given = EXACT.add(carried, EXACT.multiply(limit, Decimal(unused - 1)))
    return EXACT.add(limit, given if most is None else min(given, most))


def in_order(top_ups: Iterable[TopUpState]) -> tuple[TopUpState, ...]:
    """The order in which top-ups burn."""
    return tuple(sorted(top_ups, key=lambda top_up: top_up.order))


def burns_of(top_ups: Iterable[TopUpState]) -> Mapping[tuple[UUID, UUID], Decimal]:
    """What a batch took, by (top-up, balance)."""
    return {
        (top_up.id, balance_id): quantity for top_up in top_ups for balance_id, quantity in sorted(top_up.burnt.items())
    }
