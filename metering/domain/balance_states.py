"""A balance under lock, while a batch is decided."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from metering.domain.allowances import Beside
from metering.domain.counting import Observed
from metering.domain.numbers import ZERO


@dataclass(slots=True)
class BalanceState:
    """A balance under lock, as the batch leaves it. `closed` ones take no more events.

    `extra` is what was carried over and what top-ups have covered before this batch: allowance beside the limit.
    `burned` is what top-ups cover by this batch; `latest_at` when the event occurred whose value a latest meter has.
    `beside` is what few have: top-ups, a rolling window, a period that takes what is left.
    """

    id: UUID
    used: Decimal
    held: Decimal
    closed: bool
    fired: set[int]
    period_end: datetime | None = None
    extra: Decimal = ZERO
    burned: Decimal = ZERO
    latest_at: datetime | None = None
    changed: bool = False
    quiet_below: Decimal = ZERO
    """No threshold is crossed while less than this is used."""
    observed: Observed | None = None
    """Of meters that do not add up."""
    beside: Beside | None = None
