"""Laws of entitlements: a child never exceeds its parent, the licence goes before its plans, plans unite."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from licenses.domain.comparing import Effect, feature_effect
from licenses.domain.decision import decide_license
from licenses.domain.entitlements import EffectiveFeature, effective_feature, effective_features
from licenses.domain.enums import FeatureKind, GrantSource, ReasonCode
from licenses.domain.explaining import GrantEffect, explain_features
from licenses.domain.facts import AgentFacts, FeatureValue, GrantFacts
from tests.licenses.domain.builders import DAY, NOW, make_agent, make_facts

ADD_ON, LICENSE, PLAN = GrantSource.ADD_ON, GrantSource.LICENSE, GrantSource.PLAN
CHOICES = ("tiny", "small", "medium", "large")
#: A feature has one kind, whoever grants it.
KINDS = {
    "search": FeatureKind.SWITCH,
    "code": FeatureKind.SWITCH,
    "tools": FeatureKind.LIMIT,
    "seats": FeatureKind.LIMIT,
    "models": FeatureKind.CHOICE,
    "regions": FeatureKind.CHOICE,
}
_OFF: dict[FeatureKind, FeatureValue] = {
    FeatureKind.SWITCH: False,
    FeatureKind.LIMIT: 0,
    FeatureKind.CHOICE: frozenset(),
}

codes = st.sampled_from(sorted(KINDS))
subsets = st.none() | st.frozensets(codes)
instants = st.none() | st.integers(-3, 3).map(lambda days: NOW + days * DAY)


def values_of(kind: FeatureKind) -> st.SearchStrategy[FeatureValue]:
    match kind:
        case FeatureKind.SWITCH:
            return st.booleans()
        case FeatureKind.LIMIT:
            return st.integers(0, 100)
    return st.frozensets(st.sampled_from(CHOICES))


@st.composite
def grants(draw: st.DrawFn, source: GrantSource | None = None) -> GrantFacts:
    code = draw(codes)
    kind = KINDS[code]
    begin, end = draw(instants), draw(instants)
    if begin is not None and end is not None and end <= begin:
        end = None
    return GrantFacts(
        code,
        kind,
        draw(values_of(kind)),
        source or draw(st.sampled_from(GrantSource)),
        begin,
        end,
        id=UUID(int=draw(st.integers(1, 10**6))),
        choices=CHOICES if kind == FeatureKind.CHOICE else (),
    )


def value_of(features: dict[str, EffectiveFeature], code: str) -> FeatureValue:
    return features[code].value if code in features else _OFF[KINDS[code]]


def within(child: FeatureValue, parent: FeatureValue) -> bool:
    if isinstance(child, frozenset) and isinstance(parent, frozenset):
        return child <= parent
    assert isinstance(child, int | Decimal)
    assert isinstance(parent, int | Decimal)
    return child <= parent


class AgentTree(RuleBasedStateMachine):
    """Agents that spawn agents, and edits of subsets and grants in any order: at no time has a child more."""

    agents: Bundle[int] = Bundle("agents")

    def __init__(self) -> None:
        super().__init__()
        self.grants: list[GrantFacts] = []
        self.parents: dict[int, int | None] = {}
        self.subsets: dict[int, frozenset[str] | None] = {}

    @initialize(target=agents, subset=subsets, of_plans=st.lists(grants(), max_size=12))
    def first_agent(self, subset: frozenset[str] | None, of_plans: list[GrantFacts]) -> int:
        self.grants = of_plans
        return self._made(None, subset)

    @rule(target=agents, parent=agents, subset=subsets)
    def spawn(self, parent: int, subset: frozenset[str] | None) -> int:
        return self._made(parent, subset)

    @rule(agent=agents, subset=subsets)
    def edit_subset(self, agent: int, subset: frozenset[str] | None) -> None:
        self.subsets[agent] = subset

    @rule(grant=grants())
    def add_grant(self, grant: GrantFacts) -> None:
        self.grants.append(grant)

    @rule(place=st.integers(0, 50))
    def remove_grant(self, place: int) -> None:
        if self.grants:
            self.grants.pop(place % len(self.grants))

    @invariant()
    def no_child_has_more_than_its_parent(self) -> None:
        of_license = effective_features(make_facts(agents=[], grants=self.grants), NOW)
        for agent, parent in self.parents.items():
            mine = self._features(agent)
            theirs = of_license if parent is None else self._features(parent)
            for code in KINDS:
                assert within(value_of(mine, code), value_of(theirs, code)), (agent, code)
                subset = self.subsets[agent]
                if subset is not None and code not in subset:
                    assert not value_of(mine, code)

    @invariant()
    def what_a_child_may_its_parent_may(self) -> None:
        for agent, parent in self.parents.items():
            for code in KINDS:
                child = decide_license(
                    make_facts(agents=self._chain(agent), grants=self.grants), at=NOW, features=[code]
                )
                chain = [] if parent is None else self._chain(parent)
                above = decide_license(make_facts(agents=chain, grants=self.grants), at=NOW, features=[code])
                assert above.valid or not child.valid

    def _made(self, parent: int | None, subset: frozenset[str] | None) -> int:
        agent = len(self.parents) + 1
        self.parents[agent], self.subsets[agent] = parent, subset
        return agent

    def _chain(self, agent: int) -> list[AgentFacts]:
        chain: list[AgentFacts] = []
        at: int | None = agent
        while at is not None:
            chain.append(make_agent(at, features=self.subsets[at]))
            at = self.parents[at]
        return chain

    def _features(self, agent: int) -> dict[str, EffectiveFeature]:
        return effective_features(make_facts(agents=self._chain(agent), grants=self.grants), NOW)


TestAgentTree = AgentTree.TestCase


def in_force(found: Sequence[GrantFacts], at: datetime) -> list[GrantFacts]:
    return [
        grant
        for grant in found
        if (grant.starts_at is None or grant.starts_at <= at) and (grant.expires_at is None or at < grant.expires_at)
    ]


@given(found=st.lists(grants(), max_size=12))
def test_effective_features__any_grants__licence_wins_else_all_plans_unite(found: list[GrantFacts]) -> None:
    features = effective_features(make_facts(grants=found), NOW)

    for code, kind in KINDS.items():
        holding = [grant for grant in in_force(found, NOW) if grant.feature == code]
        own = [grant.value for grant in holding if grant.source == LICENSE]
        of_plans = [grant.value for grant in holding if grant.source != LICENSE]
        if not holding:
            assert code not in features
        elif own:
            assert features[code].source == LICENSE
            assert features[code].value in own
        else:
            assert features[code].value == united(kind, of_plans)
            assert features[code].source in {PLAN, ADD_ON}


def united(kind: FeatureKind, values: Sequence[FeatureValue]) -> FeatureValue:
    if kind == FeatureKind.SWITCH:
        return any(values)
    if kind == FeatureKind.LIMIT:
        return sum(value for value in values if isinstance(value, int))
    return frozenset().union(*(value for value in values if isinstance(value, frozenset)))


@given(found=st.lists(grants(), max_size=8), more=grants(ADD_ON))
def test_effective_features__one_more_add_on__takes_nothing_away(found: list[GrantFacts], more: GrantFacts) -> None:
    before = effective_features(make_facts(grants=found), NOW)
    after = effective_features(make_facts(grants=[*found, more]), NOW)

    for code in KINDS:
        assert within(value_of(before, code), value_of(after, code))
        assert feature_effect(before.get(code), after.get(code)) in {None, Effect.GAINS}


@given(found=st.lists(grants(), max_size=8), order=st.randoms(use_true_random=False))
def test_effective_features__plans_in_any_order__are_the_same(found: list[GrantFacts], order: object) -> None:
    of_plans = [grant for grant in found if grant.source != LICENSE]
    shuffled = list(of_plans)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (effective_features(make_facts(grants=each), NOW) for each in (of_plans, shuffled))

    assert {code: feature.value for code, feature in one.items()} == {
        code: feature.value for code, feature in other.items()
    }


@given(found=st.lists(grants(), max_size=10), days=st.integers(-4, 4))
def test_effective_features__until_said_so__nothing_changes(found: list[GrantFacts], days: int) -> None:
    at = NOW + days * DAY
    facts = make_facts(grants=found)

    for code, feature in effective_features(facts, at).items():
        moment = at
        while (feature.until is None and moment < NOW + 5 * DAY) or (feature.until and moment < feature.until):
            later = effective_feature(facts, code, moment)
            assert later is not None
            assert later.value == feature.value
            moment += DAY / 2
        assert feature.until is None or feature.until > at


@given(found=st.lists(grants(), max_size=10), chain=st.lists(subsets, max_size=4))
def test_explained_features__whatever_holds__say_the_same_and_what_it_comes_from(
    found: list[GrantFacts], chain: list[frozenset[str] | None]
) -> None:
    agents = [make_agent(number + 1, features=subset) for number, subset in enumerate(chain)]
    facts = make_facts(agents=agents, grants=found)
    effective = effective_features(facts, NOW)

    explained = explain_features(facts, NOW)

    assert [each.code for each in explained] == sorted(effective)
    for each in explained:
        assert each.effective == effective[each.code]
        contributing = [part.grant for part in each.grants if part.effect is GrantEffect.CONTRIBUTES]
        assert contributing == [grant for grant in contributing if grant in in_force(found, NOW)]
        if each.granted.source == LICENSE:
            assert [grant.value for grant in contributing] == [each.granted.value]
        else:
            assert united(each.granted.kind, [grant.value for grant in contributing]) == each.granted.value
        assert list(each.narrowed_by_all) == [
            agent.id for agent in agents if agent.features is not None and each.code not in agent.features
        ]
        assert each.effective.narrowed_by == (each.narrowed_by_all[0] if each.narrowed_by_all else None)


@given(found=st.lists(grants(), max_size=8), code=codes)
def test_decide_license__feature_asked_for__holds_just_where_it_is_granted(found: list[GrantFacts], code: str) -> None:
    facts = make_facts(grants=found)
    feature = effective_features(facts, NOW).get(code)

    decision = decide_license(facts, at=NOW, features=[code])

    granted = feature is not None and feature.granted
    assert decision.valid == granted
    assert decision.code == (ReasonCode.VALID if granted else ReasonCode.FEATURE_NOT_GRANTED)


@given(kind=st.sampled_from(FeatureKind), data=st.data())
def test_feature_effect__of_any_two_values__turns_around_with_them(kind: FeatureKind, data: st.DataObject) -> None:
    one, other = (EffectiveFeature(kind, data.draw(values_of(kind)), PLAN) for _ in range(2))
    there, back = feature_effect(one, other), feature_effect(other, one)

    opposite = {None: None, Effect.LOSES: Effect.GAINS, Effect.GAINS: Effect.LOSES, Effect.CHANGES: Effect.CHANGES}
    assert back == opposite[there]
    assert (there is None) == (one.value == other.value)
