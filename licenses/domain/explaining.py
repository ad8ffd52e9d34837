"""Why a feature has the value that it has: what every grant does about it, and whose subset takes it away."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from licenses.domain.entitlements import EffectiveFeature, effective_features, overriding_grant
from licenses.domain.facts import AccessFacts, GrantFacts


class GrantEffect(StrEnum):
    """What a grant does to the value at a moment."""

    CONTRIBUTES = "contributes"
    OVERRIDDEN = "overridden"
    NOT_STARTED = "not_started"


@dataclass(frozen=True, slots=True)
class ExplainedGrant:
    """A grant that has not ended, and what it does."""

    grant: GrantFacts
    effect: GrantEffect


@dataclass(frozen=True, slots=True)
class ExplainedFeature:
    """A feature as it holds for one caller, as it would without any agent's subset, and all that has a say in it.

    `narrowed_by_all` are the agents, nearest first, whose subset leaves it out; `effective` names the first of them.
    """

    code: str
    effective: EffectiveFeature
    granted: EffectiveFeature
    grants: tuple[ExplainedGrant, ...]
    narrowed_by_all: tuple[UUID, ...] = ()

    @property
    def plan(self) -> str | None:
        """The code of the one plan that the value comes from; None for several, or for a licence's own value."""
        plans = {each.grant.plan for each in self.grants if each.effect is GrantEffect.CONTRIBUTES}
        return plans.pop() if len(plans) == 1 else None


def explain_features(facts: AccessFacts, at: datetime) -> list[ExplainedFeature]:
    """Every feature of `effective_features`, by code, with what contributes to its value at `at`."""
    granted = effective_features(replace(facts, agents=()), at)
    by_code: dict[str, list[GrantFacts]] = {code: [] for code in granted}
    for grant in facts.grants:
        if grant.feature in granted and (grant.expires_at is None or grant.expires_at > at):
            by_code[grant.feature].append(grant)
    return [
        ExplainedFeature(
            code=code,
            effective=feature,
            granted=granted[code],
            grants=_explained(by_code[code], at),
            narrowed_by_all=tuple(
                agent.id for agent in facts.agents if agent.features is not None and code not in agent.features
            ),
        )
        for code, feature in sorted(effective_features(facts, at).items())
    ]


def _explained(grants: list[GrantFacts], at: datetime) -> tuple[ExplainedGrant, ...]:
    override = overriding_grant(grants, at)
    return tuple(ExplainedGrant(grant, _effect(grant, override, at)) for grant in grants)


def _effect(grant: GrantFacts, override: GrantFacts | None, at: datetime) -> GrantEffect:
    if grant.starts_at is not None and grant.starts_at > at:
        return GrantEffect.NOT_STARTED
    if override is None or grant is override:
        return GrantEffect.CONTRIBUTES
    return GrantEffect.OVERRIDDEN
