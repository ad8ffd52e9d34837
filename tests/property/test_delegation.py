"""Laws of delegation, over random trees and edits: no child exceeds its parent, nothing revives what is revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from licenses.domain.decision import decide_license
from licenses.domain.delegation import feature_excesses, life_excesses, rate_excesses
from licenses.domain.entitlements import effective_features
from licenses.domain.enums import (
    AgentStatus,
    FeatureKind,
    GrantSource,
    LicenseStatus,
    LimitLevel,
    ReasonCode,
)
from licenses.domain.facts import (
    AccessFacts,
    AgentFacts,
    CustomerFacts,
    GrantFacts,
    LicenseFacts,
    RateLimitFacts,
    TenantFacts,
)
from licenses.domain.rate_limits import applicable_limits
from metering.domain.budgets import budget_excess
from metering.domain.enums import Period, QuotaMode, Scope
from metering.domain.terms import QuotaTerms
from tenants.domain.enums import CustomerStatus, TenantStatus

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CODES = ["a", "b", "c", "d"]

subsets = st.none() | st.frozensets(st.sampled_from(CODES))
ends = st.none() | st.integers(-3, 10).map(lambda hours: NOW + timedelta(hours=hours))
rates = st.lists(
    st.builds(
        RateLimitFacts,
        st.just(LimitLevel.AGENT),
        st.integers(1, 200),
        st.sampled_from([1, 60, 3600]),
        st.none() | st.integers(1, 200),
    ),
    max_size=3,
    unique_by=lambda limit: limit.window,
).map(tuple)
agents = st.fixed_dictionaries(
    {
        "features": subsets,
        "expires_at": ends,
        "rate_limits": rates,
        "status": st.sampled_from(list(AgentStatus)),
    }
)


def facts_of(chain: list[dict[str, Any]]) -> AccessFacts:
    """A licence that grants a, b and c; `chain` runs from the topmost agent down."""
    made = [
        AgentFacts(id=UUID(int=place + 1), name=str(place), parent_id=UUID(int=place) if place else None, **fields)
        for place, fields in enumerate(chain)
    ]
    return AccessFacts(
        tenant=TenantFacts(UUID(int=101), TenantStatus.ACTIVE),
        customer=CustomerFacts(UUID(int=102), CustomerStatus.ACTIVE),
        license=LicenseFacts(UUID(int=103), LicenseStatus.ACTIVE, NOW - timedelta(days=1)),
        agents=tuple(reversed(made)),
        grants=tuple(GrantFacts(code, FeatureKind.SWITCH, True, GrantSource.PLAN) for code in CODES[:3]),
    )


def granted(facts: AccessFacts) -> set[str]:
    return {code for code, feature in effective_features(facts, NOW).items() if feature.granted}


@settings(max_examples=300, deadline=None)
@given(st.lists(agents, min_size=2, max_size=8), st.data())
def test_child__random_chain_and_any_edit_of_it__never_has_more_than_its_parent(
    chain: list[dict[str, Any]], data: st.DataObject
) -> None:
    for _ in range(3):
        child, parent = facts_of(chain), facts_of(chain[:-1])
        assert granted(child) <= granted(parent)
        assert set(applicable_limits(parent, NOW)) <= set(applicable_limits(child, NOW))
        if not decide_license(parent, at=NOW).valid:
            assert not decide_license(child, at=NOW).valid
        place = data.draw(st.integers(0, len(chain) - 1))
        chain[place] = data.draw(agents)


@settings(max_examples=300, deadline=None)
@given(st.lists(agents, min_size=1, max_size=7), agents)
def test_spawn__what_is_let_through__is_within_every_agent_above(
    chain: list[dict[str, Any]], asked: dict[str, Any]
) -> None:
    parent = facts_of(chain)
    features = sorted(asked["features"] or ())
    if not feature_excesses(parent, features, at=NOW, granted_only=True):
        assert set(features) <= granted(parent)
    if asked["expires_at"] is not None and not life_excesses(parent.agents, asked["expires_at"], field="ttl"):
        assert all(each.expires_at is None or asked["expires_at"] <= each.expires_at for each in parent.agents)
    if asked["rate_limits"] and not rate_excesses(parent.agents, asked["rate_limits"]):
        slowest = min(limit.limit / limit.window for limit in asked["rate_limits"])
        for above in (limit for agent in parent.agents for limit in agent.rate_limits):
            assert slowest <= above.limit / above.window
            assert all(mine.limit <= above.limit for mine in asked["rate_limits"] if mine.window == above.window)


@settings(max_examples=200, deadline=None)
@given(st.lists(agents, min_size=1, max_size=8))
def test_spawn__exactly_what_the_parent_has__is_let_through(chain: list[dict[str, Any]]) -> None:
    parent = facts_of(chain[:1])
    own = parent.agents[0]
    assert feature_excesses(parent, sorted(granted(parent)), at=NOW, granted_only=True) == []
    assert rate_excesses(parent.agents, own.rate_limits) == []
    if own.expires_at is not None:
        assert life_excesses(parent.agents, own.expires_at, field="ttl") == []


@settings(max_examples=200, deadline=None)
@given(st.lists(agents, min_size=2, max_size=8), st.data())
def test_revoked__above_or_itself__no_edit_of_the_others_lets_it_in(
    chain: list[dict[str, Any]], data: st.DataObject
) -> None:
    dead = data.draw(st.integers(0, len(chain) - 1))
    chain[dead]["status"] = AgentStatus.REVOKED
    for _ in range(5):
        decision = decide_license(facts_of(chain), at=NOW)
        assert not decision.valid
        expected = ReasonCode.AGENT_REVOKED if dead == len(chain) - 1 else ReasonCode.PARENT_AGENT_INACTIVE
        assert expected in {reason.code for reason in decision.reasons}
        place = data.draw(st.integers(0, len(chain) - 1).filter(lambda place: place != dead))
        chain[place] = data.draw(agents)


quotas = st.builds(
    QuotaTerms,
    id=st.just(UUID(int=1)),
    key=st.just(UUID(int=2)),
    scope=st.sampled_from([Scope.AGENT, Scope.LICENSE]),
    subject_id=st.just(UUID(int=3)),
    meter_id=st.sampled_from([UUID(int=4), UUID(int=5)]),
    meter_code=st.just("tokens"),
    mode=st.just(QuotaMode.HARD),
    limit=st.integers(0, 20),
    period=st.sampled_from([Period.DAY, Period.LIFETIME]),
    filter=st.sampled_from([{}, {"model": "large"}]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(quotas, max_size=5), quotas)
def test_budget__let_through__is_within_every_parents_quota_that_counts_all_of_it(
    parents: list[QuotaTerms], asked: QuotaTerms
) -> None:
    within = all(
        asked.limit <= quota.limit
        for quota in parents
        if quota.scope is Scope.AGENT
        and (quota.meter_id, quota.period) == (asked.meter_id, asked.period)
        and all(asked.filter.get(name) == value for name, value in quota.filter.items())
    )

    class Budget:
        meter = None
        period, rolling_seconds = asked.period, None
        filter, limit, ceiling = asked.filter, asked.limit, None

    assert (budget_excess(Budget(), parents, meter_id=asked.meter_id) is None) == within
