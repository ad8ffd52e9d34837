"""Where lines count: found once per caller, meter and period, not once per line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from metering.domain.dimensions import matches
from metering.domain.numbers import ZERO
from metering.domain.periods import Window
from metering.domain.requests import Place, Target
from metering.domain.terms import Caller, MeterTerms, QuotaTerms
from metering.services.balances import BalanceSpec

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Stretch:
    """The targets of one meter's lines for any `occurred_at` in [start, end): no quota's period ends inside it."""

    start: datetime
    end: datetime
    targets: tuple[Target, ...]
    filtered: bool
    specs: dict[UUID, BalanceSpec]
    current: frozenset[UUID]
    special: frozenset[UUID]
    after: dict[UUID, UUID]

    def contains(self, at: datetime) -> bool:
        return self.start <= at < self.end


class Targets:
    """Targets of a batch's lines, and the balances that they name.

    `specs` says how to make each balance, `at_of` what time it is in its tenant's workspace; `current` are the
    balances of the periods that are running by then. `special` are those that may have more than their row; `after`
    says which balance takes what one leaves, whether that exists yet or not.
    """

    def __init__(self) -> None:
        self.specs: dict[UUID, BalanceSpec] = {}
        self.at_of: dict[UUID, datetime] = {}
        self.current: set[UUID] = set()
        self.special: set[UUID] = set()
        self.after: dict[UUID, UUID] = {}
        self._stretches: dict[tuple[int, int], _Stretch] = {}

    def of(
        self, caller: Caller, meter: MeterTerms, dimensions: Mapping[str, str], occurred_at: datetime, at: datetime
    ) -> Sequence[Target]:
        """The targets of a line of `meter` at `occurred_at`, recorded at `at` (both workspace time)."""
        key = (id(caller), id(meter))
        stretch = self._stretches.get(key)
        if stretch is None or not stretch.contains(occurred_at):
            stretch = self._stretches[key] = _stretch(caller, meter, occurred_at, at)
            self._join(stretch, at)
        if not stretch.filtered:
            return stretch.targets
        return [target for target in stretch.targets if matches(target.quota.filter, dimensions)]

    def join_place(self, caller: Caller, place: Place, occurred_at: datetime, at: datetime) -> None:
        """Let a balance in which a corrected event counted be one of the batch, with what it has beside its row."""
        quota = place.quota
        if quota is None:
            return
        own = quota.window(occurred_at, caller.timezone)
        specs = {place.balance_id: BalanceSpec(caller, quota, own)}
        after: dict[UUID, UUID] = {}
        if quota.carry_over is not None and place.balance_id == place.own:
            _chain(caller, quota, own, quota.window(at, caller.timezone), specs, after)
        special = frozenset(specs if quota.is_special else ())
        self._join(_Stretch(_FIRST, _LAST, (), False, specs, frozenset(), special, after), at)

    def _join(self, stretch: _Stretch, at: datetime) -> None:
        for balance_id, spec in stretch.specs.items():
            if self.specs.setdefault(balance_id, spec) is spec:
                self.at_of[balance_id] = at
        self.current |= stretch.current
        if stretch.special:
            self.special |= stretch.special
            self.after |= stretch.after

    @property
    def wanted(self) -> set[UUID]:
        """The balances to be locked: some of periods to come may not exist."""
        return self.specs.keys() | self.after.values()


def _stretch(caller: Caller, meter: MeterTerms, occurred_at: datetime, at: datetime) -> _Stretch:
    """Worked out once for a snapshot, as long as what happens is recorded in the period in which it happened."""
    remembered: _Stretch | None = caller.remembered.get(meter.code)
    if remembered is not None and remembered.contains(occurred_at) and remembered.contains(at):
        return remembered
    stretch = _work_out(caller, meter, occurred_at, at)
    if stretch.contains(at):
        caller.remembered[meter.code] = stretch
    return stretch


def _work_out(caller: Caller, meter: MeterTerms, occurred_at: datetime, at: datetime) -> _Stretch:
    start, end = _FIRST, _LAST
    targets: list[Target] = []
    specs: dict[UUID, BalanceSpec] = {}
    after: dict[UUID, UUID] = {}
    for quota in caller.quotas_of.get(meter.id, ()):
        own = quota.window(occurred_at, caller.timezone)
        now = own if own.contains(at) else quota.window(at, caller.timezone)
        start = max(start, own.start)
        end = end if own.end is None else min(end, own.end)
        if not quota.held_in(own):
            continue
        # An event dated ahead of its recording counts in its own period, which cannot be closed.
        target = Target(quota, quota.balance_id(own), quota.balance_id(now))
        specs.setdefault(target.own, BalanceSpec(caller, quota, own))
        specs.setdefault(target.open, BalanceSpec(caller, quota, now))
        targets.append(target)
        if quota.carry_over is not None:
            _chain(caller, quota, own, now, specs, after)
    current = frozenset(target.open for target in targets)
    special = frozenset(id for id, spec in specs.items() if spec.quota.is_special)
    filtered = any(target.quota.filter for target in targets)
    return _Stretch(start, end, tuple(targets), filtered, specs, current, special, after)


def _chain(
    caller: Caller,
    quota: QuotaTerms,
    own: Window,
    now: Window,
    specs: dict[UUID, BalanceSpec],
    after: dict[UUID, UUID],
) -> None:
    """The balances from an event's own period to the one after the present: each takes what the one before leaves.

    The one after the present may be in use already, by somebody whose clock is ahead.
    """
    carry_over, window = quota.carry_over, own
    if carry_over is None or carry_over.most == ZERO:
        return
    while window.end is not None:
        following = quota.window(window.end, caller.timezone)
        if window.end > carry_over.since:
            after[quota.balance_id(window)] = quota.balance_id(following)
        if window.contains(now.start) or now.start < window.start:
            return
        specs.setdefault(quota.balance_id(following), BalanceSpec(caller, quota, following))
        window = following
