"""What is to be said about a quota: its state, what remains of it, and how much more may be granted.

`top_ups` is everywhere what top-ups add to the limit and the ceiling of this balance: what they have covered in it
already, and what is left of those in force.
"""

from collections.abc import Iterable
from decimal import Decimal

from metering.domain.enums import QuotaMode, QuotaState
from metering.domain.numbers import EXACT, ZERO

DEFAULT_THRESHOLDS = (80, 100)
NEAR_LIMIT = 80
"""Per cent from which a quota is near its limit if it has no threshold below 100."""

_WHOLE = Decimal(100)


def quota_state(
    *,
    mode: QuotaMode,
    limit: Decimal,
    ceiling: Decimal | None,
    used: Decimal,
    held: Decimal,
    top_ups: Decimal = ZERO,
    rest: Decimal = ZERO,
    thresholds: Iterable[int] = DEFAULT_THRESHOLDS,
) -> QuotaState:
    """The state of one quota in one period; `rest` is the part of `top_ups` that has covered nothing yet.

    `exceeded`: nothing more is granted, as used and held reach a hard limit or a soft quota's ceiling. `overage`: the
    use of a soft quota (not what is held) is above its limit; at the very limit nothing is over. `near_limit`: the
    lowest threshold below 100 per cent is reached, by used and held of a hard quota, by used of a soft one; a soft
    quota of 0, plain pay-per-use, is never near.
    """
    if headroom(mode=mode, limit=limit, ceiling=ceiling, used=used, held=held, top_ups=top_ups) == ZERO:
        return QuotaState.EXCEEDED
    allowance = EXACT.add(limit, top_ups)
    taken = EXACT.add(used, held) if mode is QuotaMode.HARD else used
    if taken > (allowance if mode is QuotaMode.HARD else EXACT.subtract(allowance, rest)):
        # What was over before a top-up came stays over.
        return QuotaState.OVERAGE
    near = min([each for each in thresholds if each < 100], default=NEAR_LIMIT)
    if allowance and taken and EXACT.multiply(taken, _WHOLE) >= EXACT.multiply(allowance, near):
        return QuotaState.NEAR_LIMIT
    return QuotaState.OK


def remaining(limit: Decimal, used: Decimal, held: Decimal, top_ups: Decimal = ZERO) -> Decimal:
    """What is left of limit and top-ups beside what is used and held; never below 0, whatever the mode."""
    return max(ZERO, EXACT.subtract(EXACT.add(limit, top_ups), EXACT.add(used, held)))


def headroom(
    *,
    mode: QuotaMode,
    limit: Decimal,
    ceiling: Decimal | None,
    used: Decimal,
    held: Decimal,
    top_ups: Decimal = ZERO,
) -> Decimal | None:
    """How much more may be granted: up to the limit if hard, up to the ceiling if soft; None means without end."""
    bound = limit if mode is QuotaMode.HARD else ceiling
    return None if bound is None else remaining(bound, used, held, top_ups)
