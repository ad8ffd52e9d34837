"""Which thresholds a balance crosses, and when a quota that was exceeded no longer is: each is told once a period."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from metering.domain import allowances
from metering.domain.balance_states import BalanceState
from metering.domain.enums import QuotaMode
from metering.domain.numbers import EXACT, ZERO
from metering.domain.requests import Request
from metering.domain.terms import QuotaTerms

EXCEEDED_MARK = 0
"""Stands among the fired thresholds for `quota.exceeded`; no threshold is 0 per cent."""
RECOVERED = -1
"""In a crossing: the quota that was exceeded no longer is."""

_NEVER = Decimal("Infinity")


@dataclass(frozen=True, slots=True)
class Crossing:
    """A threshold (in per cent, or `EXCEEDED_MARK`) that a balance reached for the first time in its period.

    `allowance` is what could be used without being over: limit, what was carried over, and top-ups.
    """

    request: Request
    quota: QuotaTerms
    balance_id: UUID
    threshold: int
    used: Decimal
    allowance: Decimal


def recover(balance: BalanceState, quota: QuotaTerms, request: Request, crossings: list[Crossing]) -> None:
    """Less is used than before: an exceeded quota may be so no more, and can be exceeded and told again."""
    balance.quiet_below = ZERO
    if EXCEEDED_MARK not in balance.fired:
        return
    standing = allowances.standing_of(balance, request.at)
    allowance = EXACT.add(quota.limit, standing.extra)
    if not allowances.is_exceeded(quota.mode, allowance, standing.used, standing.rest):
        balance.fired.discard(EXCEEDED_MARK)
        crossings.append(Crossing(request, quota, balance.id, RECOVERED, standing.used, allowance))


def cross(balance: BalanceState, quota: QuotaTerms, request: Request, crossings: list[Crossing]) -> None:
    """More is used than before: each threshold that is reached for the first time is added to `crossings`."""
    if balance.used < balance.quiet_below:
        return
    used, allowance, told, rest = balance.used, quota.limit, frozenset[int](), ZERO
    if balance.beside is not None or balance.extra:
        standing = allowances.standing_of(balance, request.at)
        used, allowance, rest = standing.used, EXACT.add(allowance, standing.extra), standing.rest
        if balance.beside is not None and balance.beside.window is not None:
            told = balance.beside.window.told
    if not allowance and quota.mode is QuotaMode.SOFT:
        # Pay-per-use: there is no allowance of which a share could be used up.
        balance.quiet_below = _NEVER if balance.beside is None else ZERO
        return
    marks = {threshold: EXACT.multiply(allowance, Decimal(threshold).scaleb(-2)) for threshold in quota.thresholds}
    for threshold, mark in marks.items():
        if threshold not in balance.fired and threshold not in told and used > 0 and used >= mark:
            balance.fired.add(threshold)
            crossings.append(Crossing(request, quota, balance.id, threshold, used, allowance))
    known = EXCEEDED_MARK in balance.fired or EXCEEDED_MARK in told
    if not known and allowances.is_exceeded(quota.mode, allowance, used, rest):
        balance.fired.add(EXCEEDED_MARK)
        crossings.append(Crossing(request, quota, balance.id, EXCEEDED_MARK, used, allowance))
    if balance.beside is not None:
        # What is allowed may change from one instant to the next.
        return
    marks[EXCEEDED_MARK] = allowance
    balance.quiet_below = min((mark for each, mark in marks.items() if each not in balance.fired), default=_NEVER)
