"""The generic cell rate algorithm (GCRA) over whole microseconds: the reference for every limiter here.

A limiter's whole state is one instant, its theoretical arrival time (TAT). With T = window / limit and
tau = burst * T a call of some cost is allowed if and only if now >= max(TAT, now) + cost * T - tau; then the
TAT moves there. Several limits are checked first, then all are committed or none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

SECOND = 1_000_000

#: Lua counts in doubles: instants of today plus this stay exact (below 2**53).
MAX_TOLERANCE = 2**52


@dataclass(frozen=True, slots=True)
class Policy:
    """A rate limit in microseconds: `interval` is T, `tolerance` is tau."""

    interval: int
    tolerance: int
    burst: int

    def increment(self, cost: int) -> int:
        """How far a call moves the TAT; a cost above the burst counts as the burst, so that it can pass at all."""
        return min(cost, self.burst) * self.interval

    def ahead(self, tat: int | None, now: int) -> int:
        """How far the TAT lies ahead of `now`: 0 (nothing used) to tau (nothing left).

        More than tau comes only from a burst that was lowered or a clock that was set back; it counts as tau.
        """
        return 0 if tat is None or tat <= now else min(tat - now, self.tolerance)

    def remaining(self, ahead: int) -> int:
        """How many calls of cost 1 would pass at once."""
        return (self.tolerance - ahead) // self.interval

    def next_after(self, ahead: int) -> int:
        """Microseconds until `remaining` rises; 0 if it cannot rise any more."""
        return ahead - self.tolerance + (self.remaining(ahead) + 1) * self.interval if ahead else 0


@dataclass(frozen=True, slots=True)
class Check:
    """What one limiter says: how far it is ahead after the call, and how long to wait (0: it let the call pass)."""

    ahead: int
    retry_after: int


@dataclass(frozen=True, slots=True)
class Step:
    """Verdict over all limits. `tats` are the new states; those given, untouched, where it is refused."""

    allowed: bool
    checks: tuple[Check, ...]
    tats: tuple[int | None, ...]


@lru_cache(maxsize=4096)
def policy(limit: int, window: int, burst: int | None = None) -> Policy:
    """The policy "`limit` calls in `window` seconds, `burst` at once (as many as `limit` unless said)".

    T is rounded up to a whole microsecond, so that a limit is never passed. Raises ValueError below 1.
    """
    burst = limit if burst is None else burst
    if limit < 1 or window < 1 or burst < 1:
        raise ValueError("A rate limit's limit, window and burst are at least 1.")
    interval = min(-(-window * SECOND // limit), MAX_TOLERANCE)
    burst = min(burst, MAX_TOLERANCE // interval)
    return Policy(interval, burst * interval, burst)


def step(policies: Sequence[Policy], tats: Sequence[int | None], *, now: int, cost: int = 1) -> Step:
    """Ask all limiters at `now` (microseconds) for a call of `cost`: all are moved, or none."""
    aheads = [policy.ahead(tat, now) for policy, tat in zip(policies, tats, strict=True)]
    moves = [policy.increment(cost) for policy in policies]
    waits = [
        max(0, ahead + move - policy.tolerance) for policy, ahead, move in zip(policies, aheads, moves, strict=True)
    ]
    if any(waits):
        return Step(False, tuple(Check(*check) for check in zip(aheads, waits, strict=True)), tuple(tats))
    after = [ahead + move for ahead, move in zip(aheads, moves, strict=True)]
    return Step(True, tuple(Check(ahead, 0) for ahead in after), tuple(now + ahead for ahead in after))
