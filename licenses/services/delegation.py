"""Holding a child against its parent, as it stands in the child's own transaction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from common.errors import FieldError, Forbidden
from licenses.domain.decision import decide_license
from licenses.domain.delegation import Excess, feature_excesses, license_end, life_excesses, rate_excesses
from licenses.domain.enums import LimitLevel
from licenses.domain.facts import AccessFacts, RateLimitFacts
from licenses.selectors.access import AccessSnapshot, load_agent


def load_parent(tenant_id: UUID, parent_id: UUID) -> AccessSnapshot:
    """The parent with all above it, as it is now."""
    found = load_agent(tenant_id, parent_id)
    if found is None:
        raise LookupError(parent_id)
    return found


def refuse_unless_it_holds(facts: AccessFacts, at: datetime) -> None:
    """Raises Forbidden with the code of what stands against the licence or the parent itself.

    That the plan demands activation is a matter of machines, not of who may delegate.
    """
    decision = decide_license(replace(facts, activation_required=False), at=at)
    if not decision.valid:
        reason = next(reason for reason in decision.reasons if reason.blocks)
        raise Forbidden(decision.code.value, reason.message)


def refuse_excess(
    facts: AccessFacts,
    *,
    at: datetime,
    features: Sequence[str] | None = None,
    rate_limits: Sequence[Mapping[str, Any]] = (),
    expires_at: datetime | None = None,
    spawned_for: str | None = None,
) -> None:
    """Raises Forbidden `exceeds_parent`, naming each field in which more is asked for than the parent has.

    `facts` are the parent's. With `spawned_for`, the name of the field that sets the child's end, it is the parent
    itself that asks: what the licence does not grant, and time beyond the licence's end, cannot be passed on either.
    """
    limits = [
        RateLimitFacts(LimitLevel.AGENT, each["limit"], each["window"], each.get("burst")) for each in rate_limits
    ]
    found = [
        *feature_excesses(facts, features or (), at=at, granted_only=spawned_for is not None),
        *rate_excesses(facts.agents, limits),
    ]
    if expires_at is not None:
        end = license_end(facts, at) if spawned_for is not None else None
        found += life_excesses(facts.agents, expires_at, field=spawned_for or "expires_at", license_ends_at=end)
    refuse(found)


def refuse(excesses: Iterable[Excess]) -> None:
    """Raises Forbidden `exceeds_parent` unless there are none."""
    errors = [FieldError(field=each.field, code="exceeds_parent", detail=each.detail) for each in excesses]
    if errors:
        detail = f"A child has at most what its parent has. {errors[0]['field']}: {errors[0]['detail']}"
        raise Forbidden("exceeds_parent", detail, errors=errors)
