"""How often each agent called in each minute, and how often it was refused.

The gate's script counts calls and those that a rate limit refused. What is refused later (licence, quota) is
noted here, and a thread of the process tells Valkey of it every second: no call pays a round trip for it.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from common.valkey import valkey

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


def read_call_counts_of(
    tenant_id: UUID, agent_ids: Sequence[UUID], minutes: Sequence[int]
) -> dict[UUID, list[CallCount]]:
    """Counts of these agents alone, for each of `minutes`, in their order. Raises redis.RedisError."""
    if not agent_ids or not minutes:
        return {agent_id: [] for agent_id in agent_ids}
    fields = [name for agent_id in agent_ids for name in (agent_id.hex, refusals_field(agent_id))]
    flight = valkey().pipeline(transaction=False)
    for minute in minutes:
        flight.hmget(counts_key(tenant_id, minute), fields)
    found: dict[UUID, list[CallCount]] = {agent_id: [] for agent_id in agent_ids}
    for values in flight.execute():
        for place, agent_id in enumerate(agent_ids):
            calls, refusals = values[2 * place : 2 * place + 2]
            found[agent_id].append(CallCount(int(calls or 0), int(refusals or 0)))
    return found


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


def add_refusals(notes: dict[tuple[UUID, int, UUID], int]) -> None:
    """Count these notes in Valkey, in one flight. Raises redis.RedisError."""
    flight = valkey().pipeline(transaction=False)
    for (tenant_id, minute, agent_id), count in notes.items():
        flight.hincrby(counts_key(tenant_id, minute), refusals_field(agent_id), count)
    for tenant_id, minute in {(tenant_id, minute) for tenant_id, minute, _ in notes}:
        flight.expire(counts_key(tenant_id, minute), LIFETIME, nx=True)
    flight.execute()
