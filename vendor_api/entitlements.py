"""What a licence grants at a moment, to itself or to one of its agents, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from common.errors import Invalid, NotFound
from common.ids import Prefix, encode_id
from licenses.domain.entitlements import in_declared_order
from licenses.domain.explaining import ExplainedFeature, ExplainedGrant, explain_features
from licenses.models import Agent, License
from licenses.selectors.access import AccessSnapshot, load_agent, load_license


@dataclass(frozen=True, slots=True)
class Contribution:
    """A grant that has not ended, and what it does: contributes, overridden or not_started."""

    id: UUID | None
    source: str
    plan: str | None
    value: Any
    starts_at: datetime | None
    expires_at: datetime | None
    effect: str


@dataclass(frozen=True, slots=True)
class Entitlement:
    """A feature as it holds. `until` is when grants change it next; `granted` what it is without agents' subsets."""

    feature: str
    kind: str
    value: Any
    source: str
    plan: str | None
    until: datetime | None
    narrowed_by: str | None
    narrowed_by_all: list[str]
    granted: Any
    grants: list[Contribution]


def entitlements_of_license(license: License, *, agent_id: UUID | None = None, at: datetime) -> list[Entitlement]:
    """Every feature that holds at `at`, by code: for the licence, or for one of its agents.

    Raises NotFound, and Invalid `agent` for an agent that is not of this licence.
    """
    if agent_id is None:
        return _explained(load_license(license.tenant_id, license.id), at)
    access = load_agent(license.tenant_id, agent_id)
    if access is None or access.facts.license.id != license.id:
        # Another workspace's agent, another licence's and none at all are answered alike.
        raise Invalid.field("agent", "not_found", "The license has no agent of this id.")
    return _explained(access, at)


def entitlements_of_agent(agent: Agent, *, at: datetime) -> list[Entitlement]:
    """Every feature of the agent's licence at `at`, by code, as it holds for the agent. Raises NotFound."""
    return _explained(load_agent(agent.tenant_id, agent.id), at)


def _explained(access: AccessSnapshot | None, at: datetime) -> list[Entitlement]:
    if access is None:
        raise NotFound
    return [_entitlement(found) for found in explain_features(access.facts, at)]


def _entitlement(found: ExplainedFeature) -> Entitlement:
    narrowing = [encode_id(Prefix.AGENT, agent_id) for agent_id in found.narrowed_by_all]
    return Entitlement(
        feature=found.code,
        kind=found.effective.kind.value,
        value=found.effective.shown,
        source=found.effective.source.value,
        plan=found.plan,
        until=found.effective.until,
        narrowed_by=narrowing[0] if narrowing else None,
        narrowed_by_all=narrowing,
        granted=found.granted.shown,
        grants=[_contribution(each) for each in found.grants],
    )


def _contribution(explained: ExplainedGrant) -> Contribution:
    grant = explained.grant
    return Contribution(
        id=grant.id,
        source=grant.source.value,
        plan=grant.plan,
        value=in_declared_order(grant.value, grant.choices),
        starts_at=grant.starts_at,
        expires_at=grant.expires_at,
        effect=explained.effect.value,
    )
