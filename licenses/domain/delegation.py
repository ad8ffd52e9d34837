"""What a parent agent may pass on: a child has at most what its parent has.

What a child was given is compared once, when it is given. That it never has more later on, however its parents are
narrowed, needs no comparing: features are intersected up the chain, and every call counts on every parent.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from fractions import Fraction
from typing import NamedTuple

from common.clock import rfc3339
from licenses.domain.entitlements import effective_features
from licenses.domain.facts import AccessFacts, AgentFacts, RateLimitFacts


class Excess(NamedTuple):
    """A field in which more was asked for than the parent has, and what it has."""

    field: str
    detail: str


def feature_excesses(facts: AccessFacts, asked: Sequence[str], *, at: datetime, granted_only: bool) -> list[Excess]:
    """Features that the parent, the first agent of `facts`, lacks: left out by it or by an agent above it.

    With `granted_only` those, too, that nothing grants at `at`.
    """
    granted = {code for code, feature in effective_features(facts, at).items() if feature.granted}
    return [
        Excess(f"features.{place}", f"The parent does not have the feature '{code}'.")
        for place, code in enumerate(asked)
        if (granted_only and code not in granted)
        or any(agent.features is not None and code not in agent.features for agent in facts.agents)
    ]


def rate_excesses(parents: Iterable[AgentFacts], asked: Sequence[RateLimitFacts]) -> list[Excess]:
    """Rate limits above those of the parents; none asked for is what they have.

    Of the same window neither limit nor burst may be higher. Where the parents have a limit of a window that is not
    asked for, at least one of those that are must be as slow on the whole (limit by window): 1,000 an hour is within 60
    a minute, 2 a second is not, unless 60 a minute stand beside it.
    """
    if not asked:
        return []
    found: list[Excess] = []
    slowest = min(Fraction(limit.limit, limit.window) for limit in asked)
    for limit in dict.fromkeys(limit for parent in parents for limit in parent.rate_limits):
        within = f"The parent has {limit.limit} in {limit.window} seconds"
        same = [(place, each) for place, each in enumerate(asked) if each.window == limit.window]
        for place, each in same:
            if each.limit > limit.limit:
                found.append(Excess(f"rate_limits.{place}.limit", f"{within}."))
            elif _burst(each) > max(_burst(limit), limit.limit):
                found.append(Excess(f"rate_limits.{place}.burst", f"{within}, {_burst(limit)} of them at once."))
        if not same and slowest > Fraction(limit.limit, limit.window):
            found.append(Excess("rate_limits", f"{within}; that is less on the whole."))
    return found


def life_excesses(
    parents: Iterable[AgentFacts], ends_at: datetime, *, field: str, license_ends_at: datetime | None = None
) -> list[Excess]:
    """A life that is longer than a parent's, or than the licence's where `license_ends_at` is given."""
    ends = [parent.expires_at for parent in parents if parent.expires_at is not None]
    if ends and ends_at > (earliest := min(ends)):
        return [Excess(field, f"The parent's life ends at {rfc3339(earliest)}.")]
    if license_ends_at is not None and ends_at > license_ends_at:
        return [Excess(field, f"The license ends at {rfc3339(license_ends_at)}.")]
    return []


def license_end(facts: AccessFacts, at: datetime) -> datetime | None:
    """When the licence ends: at its expiry, or once that has passed, with its grace."""
    expires_at = facts.license.expires_at
    return expires_at if expires_at is None or at < expires_at else facts.license.grace_until


def _burst(limit: RateLimitFacts) -> int:
    return limit.limit if limit.burst is None else limit.burst
