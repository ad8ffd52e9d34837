"""The RateLimit-Policy and RateLimit fields (draft-ietf-httpapi-ratelimit-headers-11).

They are made in this one place, as the draft still moves.
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

    What is left is rounded down and the wait up, so that nobody who believes them comes too early.
    """
    policies, remains = [], []
    for name, limit, window_seconds, remaining, reset_seconds in states:
        quoted = _quoted(name)
        policies.append(f"{quoted};q={limit};w={window_seconds}")
        remains.append(f"{quoted};r={max(0, math.floor(remaining))};t={max(0, math.ceil(reset_seconds))}")
    if not policies:
        return {}
    return {"RateLimit-Policy": ",".join(policies), "RateLimit": ",".join(remains)}


def _quoted(name: str) -> str:
    if not (name.isascii() and name.isprintable()):
        message = "a policy's name is printable ASCII"
        raise ValueError(message)
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
