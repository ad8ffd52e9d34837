"""Which rate limits apply to a caller, and what it is told about them."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from licenses.domain.enums import LimitLevel
from licenses.domain.facts import AccessFacts, AgentFacts, RateLimitFacts
from licenses.domain.gcra import SECOND, Policy


class GateLimit(NamedTuple):
    """One limiter to ask: at most `limit` calls of this subject in `window` seconds, `burst` at once."""

    level: LimitLevel
    subject_id: UUID
    limit: int
    window: int
    burst: int


class HoldLimit(NamedTuple):
    """At most so many open holds at once of a licence, or of an agent with all below it."""

    level: LimitLevel
    subject_id: UUID
    limit: int


@dataclass(frozen=True, slots=True)
class LimitState:
    """A limiter after a call, for the RateLimit fields.

    `reset_seconds`: until there is more (0: nothing was used). `retry_after`: how long the refused call has to
    wait; 0 where this limit let it pass. Both in whole seconds, rounded up.
    """

    level: LimitLevel
    limit: int
    window: int
    burst: int
    remaining: int
    reset_seconds: int
    retry_after: int = 0


def limit_state(limit: GateLimit, policy: Policy, *, ahead: int, retry_after: int) -> LimitState:
    """The state to show for `limit`, from microseconds `ahead` and `retry_after` (see `gcra.Check`)."""
    return LimitState(
        level=limit.level,
        limit=limit.limit,
        window=limit.window,
        burst=limit.burst,
        remaining=policy.remaining(ahead),
        reset_seconds=-(-policy.next_after(ahead) // SECOND),
        retry_after=-(-retry_after // SECOND),
    )


def tightest(states: tuple[LimitState, ...]) -> LimitState | None:
    """Of the limits that ran out the one that takes longest to recover; None if the call may pass."""
    if not any(state.retry_after for state in states):
        return None
    return max(states, key=lambda state: state.retry_after)


def applicable_limits(facts: AccessFacts, at: datetime | None = None) -> tuple[GateLimit, ...]:
    """Every limiter that a call of this caller counts on: agent, its parents, licence, customer, tenant.

    With `at` (workspace time) throttles that are in force then, too.

    A call of a sub-agent counts on each parent too, so spawning children never buys a higher rate. Of two
    limits that differ in their burst only, the tighter one stays.
    """
    found: dict[tuple[UUID, int, int], GateLimit] = {}
    for agent in facts.agents:
        for limit in (*agent.rate_limits, *_at(facts, LimitLevel.AGENT)):
            _add(found, LimitLevel.AGENT, agent.id, limit)
        if agent.throttle is not None and at is not None and _throttled(agent, at):
            _add(found, LimitLevel.AGENT, agent.id, agent.throttle)
    levels = (
        (LimitLevel.LICENSE, facts.license.id),
        (LimitLevel.CUSTOMER, facts.customer.id),
        (LimitLevel.TENANT, facts.tenant.id),
    )
    for level, subject_id in levels:
        for limit in _at(facts, level):
            _add(found, level, subject_id, limit)
    return tuple(found.values())


def throttles_end(facts: AccessFacts, at: datetime) -> datetime | None:
    """When the next of the throttles that are in force at `at` ends; None if the clock ends none."""
    return min(
        (
            agent.throttled_until
            for agent in facts.agents
            if agent.throttled_until is not None and agent.throttle is not None and _throttled(agent, at)
        ),
        default=None,
    )


def _throttled(agent: AgentFacts, at: datetime) -> bool:
    return agent.throttled_until is None or at < agent.throttled_until


def _at(facts: AccessFacts, level: LimitLevel) -> list[RateLimitFacts]:
    return [limit for limit in facts.rate_limits if limit.level == level]


def _add(
    found: dict[tuple[UUID, int, int], GateLimit], level: LimitLevel, subject_id: UUID, limit: RateLimitFacts
) -> None:
    burst = limit.limit if limit.burst is None else limit.burst
    key = (subject_id, limit.limit, limit.window)
    if key not in found or burst < found[key].burst:
        found[key] = GateLimit(level, subject_id, limit.limit, limit.window, burst)
