"""How a line changes what a balance has used, on meters that do not add up: max, unique and latest.

What sum and count do is plain addition, and the ledger does it by itself. Here a line makes a balance grow by what the
value of the period changes: it may be nothing, and for latest less than nothing. `BalanceState.observed` is what has to
be known beside the value; it is read under the balance's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import UUID

from metering.domain.enums import Aggregation
from metering.domain.numbers import EXACT, ONE, ZERO, plain, sum_exact

if TYPE_CHECKING:
    from metering.domain.balance_states import BalanceState
    from metering.domain.requests import Line

NOTHING_OBSERVED = datetime.min.replace(tzinfo=UTC)
"""`latest_at` where all events were taken back: any event is newer."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The value of a period, and, for latest, whose it is."""

    value: Decimal = ZERO
    at: datetime = NOTHING_OBSERVED
    event_id: UUID | None = None


@dataclass(slots=True)
class Observed:
    """What a balance has seen, as far as a batch asks.

    `values`: how many live events carry a value, by `value_id`, of those that the batch names; `noted` is what the
    batch adds to them. `latest_id` is the event whose value stands, where another one happened at the very same time.
    `without`: how the balance stands without an event that is taken back.
    """

    values: dict[UUID, int] = field(default_factory=dict)
    noted: dict[UUID, int] = field(default_factory=dict)
    latest_id: UUID | None = None
    without: dict[UUID, Standing] = field(default_factory=dict)


def value_text(line: Line) -> str:
    """What a unique meter tells apart: the dimension that gives the value, or else the quantity."""
    rules = line.meter.rules
    if rules is None or not rules.value_from:
        return plain(line.quantity.copy_abs())
    return line.dimensions.get(rules.value_from, "")


def value_id(balance_id: UUID, text: str) -> UUID:
    """The name of a value in a balance; `usage_values` makes the same in SQL."""
    return UUID(bytes=sha256(balance_id.bytes + text.encode()).digest()[:16])


def asked(balance: BalanceState, lines: Sequence[Line]) -> Decimal:
    """By how much these lines of one meter, counted together, would change what the balance has used."""
    if lines[0].meter.aggregation.adds_up:
        return sum_exact(line.quantity for line in lines)
    match lines[0].meter.aggregation:
        case Aggregation.UNIQUE:
            ids = {value_id(balance.id, value_text(line)) for line in lines}
            return Decimal(sum(1 for id in ids if not _observed(balance).values.get(id)))
        case Aggregation.LATEST:
            newest = max(lines, key=lambda line: (line.occurred_at, line.event_id))
            return EXACT.subtract(newest.quantity, balance.used) if _is_newer(balance, newest) else ZERO
        case _:
            highest = max(line.quantity for line in lines)
            return max(ZERO, EXACT.subtract(highest, balance.used))


def count(balance: BalanceState, line: Line) -> None:
    """Let one line of a meter that does not add up change the balance."""
    if line.corrects is not None:
        _take_back(balance, line, line.corrects)
    elif line.meter.aggregation is Aggregation.UNIQUE:
        _note(balance, value_id(balance.id, value_text(line)), 1)
    elif line.meter.aggregation is Aggregation.LATEST:
        if _is_newer(balance, line):
            balance.used, balance.latest_at = line.quantity, line.occurred_at
            _observed(balance).latest_id = line.event_id
    else:
        balance.used = max(balance.used, line.quantity)
    balance.changed = True


def _take_back(balance: BalanceState, line: Line, event_id: UUID) -> None:
    if line.meter.aggregation is Aggregation.UNIQUE:
        _note(balance, value_id(balance.id, value_text(line)), -1)
        return
    rest = _observed(balance).without.get(event_id)
    if rest is None:
        return
    balance.used = rest.value
    if line.meter.aggregation is Aggregation.LATEST:
        balance.latest_at = rest.at
        _observed(balance).latest_id = rest.event_id


def _note(balance: BalanceState, id: UUID, change: int) -> None:
    observed = _observed(balance)
    before = observed.values.get(id, 0)
    if before + change < 0:
        return
    observed.values[id] = before + change
    observed.noted[id] = observed.noted.get(id, 0) + change
    if bool(before) != bool(before + change):
        balance.used = EXACT.add(balance.used, ONE if change > 0 else -ONE)


def _is_newer(balance: BalanceState, line: Line) -> bool:
    """Later by its own time; of equal times the event that was made later."""
    if balance.latest_at is None or line.occurred_at != balance.latest_at:
        return balance.latest_at is None or line.occurred_at > balance.latest_at
    latest_id = _observed(balance).latest_id
    return latest_id is None or line.event_id > latest_id


def _observed(balance: BalanceState) -> Observed:
    if balance.observed is None:
        balance.observed = Observed()
    return balance.observed
