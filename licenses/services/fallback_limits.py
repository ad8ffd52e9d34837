"""Rate limits while Valkey is away: each process limits by itself, to its share of every limit."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from uuid import UUID

from django.conf import settings

from licenses.domain.gcra import SECOND, Policy, policy, step
from licenses.domain.rate_limits import GateLimit, limit_state, tightest
from licenses.services.gate import GateCommand, GateVerdict

#: So many limiters are remembered; the one that was not used for longest goes first.
_CAPACITY = 50_000


class FallbackLimiter:
    """A limiter in memory, for one of `processes` processes that share each limit evenly (at least 1 call each).

    `clock` counts seconds and never goes back.
    """

    def __init__(
        self, *, processes: int, clock: Callable[[], float] = time.monotonic, capacity: int = _CAPACITY
    ) -> None:
        self._processes = processes
        self._clock = clock
        self._capacity = capacity
        self._lock = threading.Lock()
        self._tats: OrderedDict[tuple[UUID, int, int], int] = OrderedDict()

    def check(self, commands: Sequence[GateCommand]) -> list[GateVerdict]:
        """The verdicts that `check_gate` would give, with every epoch cold: they have to be read from Postgres.

        States name the limit that was configured; what remains is this process's share of it.
        """
        with self._lock:
            now = int(self._clock() * SECOND)
            return [self._decide(command, now) for command in commands]

    def _decide(self, command: GateCommand, now: int) -> GateVerdict:
        keys = [(limit.subject_id, limit.window, limit.limit) for limit in command.limits]
        policies = [share(limit, self._processes) for limit in command.limits]
        verdict = step(policies, [self._tats.get(key) for key in keys], now=now, cost=command.cost)
        if verdict.allowed:
            for key, tat in zip(keys, verdict.tats, strict=True):
                if tat is not None:
                    self._tats[key] = tat
                    self._tats.move_to_end(key)
            while len(self._tats) > self._capacity:
                self._tats.popitem(last=False)
        states = tuple(
            limit_state(limit, rule, ahead=check.ahead, retry_after=check.retry_after)
            for limit, rule, check in zip(command.limits, policies, verdict.checks, strict=True)
        )
        return GateVerdict(
            epochs=(None,) * len(command.epoch_keys), stale=False, limited=tightest(states), states=states
        )


def share(limit: GateLimit, processes: int) -> Policy:
    """One process's part of a limit, rounded down, but never nothing at all."""
    return policy(max(1, limit.limit // processes), limit.window, max(1, limit.burst // processes))


@lru_cache(maxsize=1)
def fallback_limiter() -> FallbackLimiter:
    """The limiter of this process."""
    return FallbackLimiter(processes=settings.PERMETER_WEB_PROCESSES)
