"""Slowing down who guesses licence keys: wrong ones are counted per tenant and address, and per tenant.

An address that was wrong too often waits, with right keys too, or else a guess that hits would be told from one that
does not. A tenant's own count is for guesses from many places: once it is full, every address that was wrong lately
waits for it, and whoever was not is let through, so that nobody's own licence key is ever locked out by others.
While Valkey is away each process counts by itself, to its share.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

import redis
import structlog
from django.conf import settings

from common.valkey import valkey
from common.valkey_scripts import LuaScript, ScriptCall, run_scripts
from licenses.domain.gcra import SECOND, Policy, policy

log = structlog.get_logger(__name__)

WINDOW: Final = 60
#: How long an address that was wrong waits with the others, where a whole tenant's keys are guessed at.
SUSPECT_SECONDS: Final = 600

_SCRIPT: Final = LuaScript((Path(__file__).parent / "key_guesses.lua").read_text())
_CAPACITY: Final = 50_000
_PAUSE: Final = 1.0


class Guess(NamedTuple):
    """A licence key that was shown at a tenant's door from an address; `wrong` if there is no such key."""

    tenant_id: UUID
    address: str
    wrong: bool


def check_guesses(guesses: Sequence[Guess], *, now: int | None = None) -> list[int]:
    """How many seconds each has to wait (0: none), in order, in one flight; wrong ones are counted.

    Whoever has to wait is not counted, so waiting that long is enough. `now` (microseconds) replaces the server's
    time in tests.
    """
    if not guesses:
        return []
    global _paused_until  # noqa: PLW0603 - one process, one connection that may be broken
    if time.monotonic() >= _paused_until:
        try:
            waits = run_scripts(valkey(), [_call(guess, now) for guess in guesses])
            return [_seconds(int(wait)) for wait in waits]
        except redis.RedisError as error:
            _paused_until = time.monotonic() + _PAUSE
            log.warning("key_guesses.unavailable", error=type(error).__name__)
    return fallback_guesses().check(guesses)


_paused_until = 0.0


class FallbackGuesses:
    """The same count in memory, for one of `processes` that share it. `clock` counts seconds and never goes back."""

    def __init__(self, *, processes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._processes = processes
        self._clock = clock
        self._lock = threading.Lock()
        self._tats: OrderedDict[tuple[UUID, str | None], int] = OrderedDict()
        self._suspects: OrderedDict[tuple[UUID, str], int] = OrderedDict()

    def check(self, guesses: Sequence[Guess]) -> list[int]:
        """How many seconds each has to wait; wrong ones are counted."""
        with self._lock:
            now = int(self._clock() * SECOND)
            return [self._check(guess, now) for guess in guesses]

    def _check(self, guess: Guess, now: int) -> int:
        place = (guess.tenant_id, network_of(guess.address))
        everywhere = (guess.tenant_id, None)
        own_rule, all_rule = (_share(rule, self._processes) for rule in limits())
        own, everybody = own_rule.ahead(self._tats.get(place), now), all_rule.ahead(self._tats.get(everywhere), now)
        wait = max(own + own_rule.interval - own_rule.tolerance, 0)
        if self._suspects.get(place, 0) > now:
            wait = max(wait, everybody + all_rule.interval - all_rule.tolerance)
        if wait == 0 and guess.wrong:
            self._tats[place] = now + own + own_rule.interval
            self._tats[everywhere] = now + min(everybody + all_rule.interval, all_rule.tolerance)
            self._suspects[place] = now + SUSPECT_SECONDS * SECOND
            for remembered in (self._tats, self._suspects):
                while len(remembered) > _CAPACITY:
                    remembered.popitem(last=False)
        return _seconds(wait)


@lru_cache(maxsize=1)
def fallback_guesses() -> FallbackGuesses:
    """This process's own count."""
    return FallbackGuesses(processes=settings.PERMETER_WEB_PROCESSES)


def limits() -> tuple[Policy, Policy]:
    """Wrong keys a minute: of one address, and of a tenant."""
    of_address: int = settings.PERMETER_LICENSE_KEY_GUESSES
    of_tenant: int = settings.PERMETER_LICENSE_KEY_GUESSES_PER_TENANT
    return policy(of_address, WINDOW), policy(of_tenant, WINDOW)


@lru_cache(maxsize=10_000)
def network_of(address: str) -> str:
    """What counts as one address: of IPv6 the whole /64, since whoever has one address there has all of them."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(IPv6Network((found, 64), strict=False)) if isinstance(found, IPv6Address) else address


def _call(guess: Guess, now: int | None) -> ScriptCall:
    own, everybody = limits()
    tenant, address = guess.tenant_id.hex, network_of(guess.address)
    return ScriptCall(
        _SCRIPT,
        [f"guess:{{{tenant}}}:a:{address}", f"guess:{{{tenant}}}:t", f"guess:{{{tenant}}}:s:{address}"],
        [
            "" if now is None else now,
            int(guess.wrong),
            own.tolerance,
            own.interval,
            everybody.tolerance,
            everybody.interval,
            SUSPECT_SECONDS * 1000,
        ],
    )


def _share(rule: Policy, processes: int) -> Policy:
    burst = max(1, rule.burst // processes)
    return policy(burst, WINDOW, burst)


def _seconds(microseconds: int) -> int:
    return -(-microseconds // SECOND)
