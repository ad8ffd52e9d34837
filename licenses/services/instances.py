"""The copies of an agent that call, told apart by the label that they send: each seen when, and how often.

Kept in Valkey only, and for a day: a sorted set of labels by the time they were last seen, and a hash of their calls.
What a call has to tell rides along with its own flight to the gate. If Valkey loses it, or is away, counting begins
anew; nothing is decided by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import redis

from common.clock import real_clock
from common.valkey import valkey
from common.valkey_scripts import Text

#: An instance is active for so long after its last call.
ACTIVE: Final = timedelta(minutes=5)

MAX_LABEL: Final = 128
#: So many are kept of an agent; the one that was not seen for longest makes way.
MOST: Final = 10_000

_LIFETIME: Final = 24 * 60 * 60

# KEYS: labels by microsecond last seen, calls by label. ARGV: label, most, lifetime in seconds.
_SEEN: Final = """
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2]))
if redis.call('ZADD', KEYS[1], now, ARGV[1]) == 1 and redis.call('ZCARD', KEYS[1]) > tonumber(ARGV[2]) then
  local oldest = redis.call('ZPOPMIN', KEYS[1])
  redis.call('HDEL', KEYS[2], oldest[1])
end
redis.call('HINCRBY', KEYS[2], ARGV[1], 1)
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 1
"""


@dataclass(frozen=True, slots=True)
class Instance:
    """A copy of an agent; `calls` of the last day, refused ones included."""

    label: str
    last_seen_at: datetime
    calls: int


def is_label(text: str) -> bool:
    """Whether an instance may be called so: 1 to 128 printable ASCII characters, no space at either end."""
    return 0 < len(text) <= MAX_LABEL and text.isascii() and text.isprintable() and text == text.strip()


def seen(tenant_id: UUID, agent_id: UUID, label: str) -> list[Text]:
    """The Valkey command that notes a call of this instance, to ride along with a flight."""
    labels, calls = _keys(tenant_id, agent_id)
    return ["EVAL", _SEEN, 2, labels, calls, label, MOST, _LIFETIME]


def read_instances(tenant_id: UUID, agent_id: UUID, *, now: datetime | None = None) -> list[Instance]:
    """The instances of an agent that called within a day, the latest first; none while Valkey is away.

    Those that are older are swept away on the way.
    """
    labels, calls = _keys(tenant_id, agent_id)
    until = (now or real_clock().now()) - timedelta(seconds=_LIFETIME)
    try:
        client = valkey()
        if gone := client.zrangebyscore(labels, "-inf", f"({_micros(until)}"):
            client.zrem(labels, *gone)
            client.hdel(calls, *gone)
        flight = client.pipeline(transaction=False)
        flight.zrevrange(labels, 0, -1, withscores=True)
        flight.hgetall(calls)
        found, counts = flight.execute()
    except redis.RedisError:
        return []
    numbers = {_text(label): int(count) for label, count in counts.items()}
    return [
        Instance(_text(label), datetime.fromtimestamp(score / 1_000_000, UTC), numbers.get(_text(label), 0))
        for label, score in found
    ]


def count_active(tenant_id: UUID, agent_ids: Sequence[UUID], *, now: datetime | None = None) -> dict[UUID, int]:
    """How many instances of each agent called within the last five minutes, in one flight; 0 while Valkey is away."""
    since = _micros((now or real_clock().now()) - ACTIVE)
    try:
        flight = valkey().pipeline(transaction=False)
        for agent_id in agent_ids:
            flight.zcount(_keys(tenant_id, agent_id)[0], since, "+inf")
        return dict(zip(agent_ids, flight.execute(), strict=True))
    except redis.RedisError:
        return dict.fromkeys(agent_ids, 0)


def _keys(tenant_id: UUID, agent_id: UUID) -> tuple[str, str]:
    name = f"{{{tenant_id.hex}}}:i:{agent_id.hex}"
    return name, f"{name}:n"


def _micros(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000)


def _text(label: bytes | str) -> str:
    return label.decode() if isinstance(label, bytes) else label
