"""The RateLimit-Policy and RateLimit fields (draft-ietf-httpapi-ratelimit-headers-11).

They are made in this one place, as the draft still moves: all policies are named, and what is left is told of the
tightest, which is the one that a client has to heed.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple


class RateLimitState(NamedTuple):
    """One policy and what is left of it: `limit` requests in `window_seconds`, more in `reset_seconds`."""

    name: str
    limit: int
    window_seconds: int
    remaining: float
    reset_seconds: float


def rate_limit_fields(states: Iterable[RateLimitState | tuple[str, int, int, float, float]]) -> dict[str, str]:
    """Both fields as structured-field lists (RFC 9651); no fields where no policy is set.

    The tightest policy is the one with the fewest requests left, of those the one that takes longest to give more.

    What is left is rounded down and the wait up, so that nobody who believes them comes too early.
    """
    policies: list[str] = []
    tightest: tuple[int, int, str] | None = None
    for name, limit, window_seconds, remaining, reset_seconds in states:
        quoted = _quoted(name)
        policies.append(f"{quoted};q={limit};w={window_seconds}")
        found = (max(0, math.floor(remaining)), max(0, math.ceil(reset_seconds)), quoted)
        if tightest is None or (found[0], -found[1]) < (tightest[0], -tightest[1]):
            tightest = found
    if tightest is None:
        return {}
    left, seconds, name = tightest
    return {"RateLimit-Policy": ",".join(policies), "RateLimit": f"{name};r={left};t={seconds}"}


def _quoted(name: str) -> str:
    if not (name.isascii() and name.isprintable()):
        message = "a policy's name is printable ASCII"
        raise ValueError(message)
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
