"""How often each agent called in each minute, and how often it was refused.

The gate's script counts calls and those that a rate limit refused. What is refused later (licence, quota) is
noted here and rides along with the process's next flight, so that it costs no round trip of its own.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from common.valkey import valkey
from common.valkey_scripts import Text

#: Counts are kept for two hours: long enough for a baseline, short enough to need no sweeping.
LIFETIME = 2 * 60 * 60

_MOST_NOTES = 10_000


@dataclass(frozen=True, slots=True)
class CallCount:
    """Calls of one agent in one minute; `refusals` are among the `calls`."""

    calls: int = 0
    refusals: int = 0


def counts_key(tenant_id: UUID, minute: int) -> str:
    """The hash that counts a tenant's calls in this minute (whole minutes since 1970)."""
    return f"{{{tenant_id.hex}}}:c:{minute}"


def refusals_field(agent_id: UUID) -> str:
    """The hash's field for refusals; the one for calls is the agent's bare id."""
    return f"{agent_id.hex}:r"


def read_call_counts(tenant_id: UUID, minutes: Sequence[int]) -> list[dict[UUID, CallCount]]:
    """Counts by agent, for each of `minutes` (whole minutes since 1970). Raises redis.RedisError."""
    flight = valkey().pipeline(transaction=False)
    for minute in minutes:
        flight.hgetall(counts_key(tenant_id, minute))
    return [_parsed(fields) for fields in flight.execute()]


def _parsed(fields: dict[bytes | str, bytes | str]) -> dict[UUID, CallCount]:
    numbers = {key.decode() if isinstance(key, bytes) else key: int(value) for key, value in fields.items()}
    agents = {key.removesuffix(":r") for key in numbers}
    return {UUID(agent): CallCount(numbers.get(agent, 0), numbers.get(f"{agent}:r", 0)) for agent in agents}


class RefusalNotes:
    """Refusals of this process that Valkey has not been told yet. Bounded: when full, new agents go uncounted."""

    def __init__(self, most: int = _MOST_NOTES) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._noted: dict[tuple[UUID, int, UUID], int] = {}

    def add(self, tenant_id: UUID, agent_id: UUID, *, minute: int, count: int = 1) -> None:
        """Note a refusal."""
        key = (tenant_id, minute, agent_id)
        with self._lock:
            if key in self._noted or len(self._noted) < self._most:
                self._noted[key] = self._noted.get(key, 0) + count

    def take(self) -> dict[tuple[UUID, int, UUID], int]:
        """All notes, which are forgotten with that."""
        if not self._noted:
            return {}
        with self._lock:
            taken, self._noted = self._noted, {}
        return taken

    def put_back(self, notes: dict[tuple[UUID, int, UUID], int]) -> None:
        """Notes that could not be delivered."""
        for (tenant_id, minute, agent_id), count in notes.items():
            self.add(tenant_id, agent_id, minute=minute, count=count)


def commands(notes: dict[tuple[UUID, int, UUID], int]) -> list[list[Text]]:
    """The Valkey commands that count these notes."""
    found: list[list[Text]] = []
    for (tenant_id, minute, agent_id), count in notes.items():
        key = counts_key(tenant_id, minute)
        found.append(["HINCRBY", key, refusals_field(agent_id), count])
        found.append(["EXPIRE", key, LIFETIME, "NX"])
    return found
