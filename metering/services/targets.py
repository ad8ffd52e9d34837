"""Where lines count: found once per caller, meter and period of a batch, not once per line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from metering.domain.dimensions import matches
from metering.domain.ledger import Target
from metering.domain.terms import Caller, MeterTerms
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


class Targets:
    """Targets of a batch's lines, and the balances that they name.

    `specs` says how to make each balance, `at_of` what time it is in its tenant's workspace; `current` are the
    balances of the periods that are running by then.
    """

    def __init__(self) -> None:
        self.specs: dict[UUID, BalanceSpec] = {}
        self.at_of: dict[UUID, datetime] = {}
        self.current: set[UUID] = set()
        self._stretches: dict[tuple[int, int], _Stretch] = {}

    def of(
        self, caller: Caller, meter: MeterTerms, dimensions: Mapping[str, str], occurred_at: datetime, at: datetime
    ) -> Sequence[Target]:
        """The targets of a line of `meter` at `occurred_at`, recorded at `at` (both workspace time)."""
        key = (id(caller), id(meter))
        stretch = self._stretches.get(key)
        if stretch is None or not stretch.start <= occurred_at < stretch.end:
            stretch = self._stretches[key] = self._stretch(caller, meter.id, occurred_at, at)
        if not stretch.filtered:
            return stretch.targets
        return [target for target in stretch.targets if matches(target.quota.filter, dimensions)]

    def _stretch(self, caller: Caller, meter_id: UUID, occurred_at: datetime, at: datetime) -> _Stretch:
        start, end = _FIRST, _LAST
        targets: list[Target] = []
        filtered = False
        for quota in caller.quotas_of.get(meter_id, ()):
            own = quota.window(occurred_at, caller.timezone)
            now = own if own.contains(at) else quota.window(at, caller.timezone)
            # An event dated ahead of its recording counts in its own period, which cannot be closed.
            target = Target(quota, quota.balance_id(own), quota.balance_id(now))
            for balance_id, window in ((target.own, own), (target.open, now)):
                if balance_id not in self.specs:
                    self.specs[balance_id] = BalanceSpec(caller, quota, window)
                    self.at_of[balance_id] = at
            self.current.add(target.open)
            targets.append(target)
            filtered = filtered or bool(quota.filter)
            start = max(start, own.start)
            end = end if own.end is None else min(end, own.end)
        return _Stretch(start, end, tuple(targets), filtered)
