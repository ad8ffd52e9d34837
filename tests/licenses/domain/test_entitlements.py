from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licenses.domain.entitlements import EffectiveFeature, effective_feature, effective_features
from licenses.domain.enums import FeatureKind, GrantSource
from licenses.domain.facts import FeatureValue, GrantFacts
from tests.licenses.domain.builders import DAY, NOW, grant, make_agent, make_facts

ADD_ON, LICENSE, PLAN = GrantSource.ADD_ON, GrantSource.LICENSE, GrantSource.PLAN


@pytest.mark.parametrize(
    ("grants", "value", "source"),
    [
        ([grant("f", True)], True, "plan"),
        ([grant("f", False), grant("f", True, ADD_ON)], True, "add_on"),
        ([grant("f", 20), grant("f", 5, ADD_ON), grant("f", 1, ADD_ON)], 26, "add_on"),
        ([grant("f", Decimal("0.5")), grant("f", Decimal("0.25"), ADD_ON)], Decimal("0.75"), "add_on"),
        ([grant("f", frozenset("a")), grant("f", frozenset("bc"), ADD_ON)], frozenset("abc"), "add_on"),
        ([grant("f", 20), grant("f", 5, ADD_ON), grant("f", 3, LICENSE)], 3, "license"),
        ([grant("f", True), grant("f", False, LICENSE)], False, "license"),
        ([grant("f", 20), grant("f", 99, LICENSE, expires_at=NOW)], 20, "plan"),
        ([grant("f", 20), grant("f", 99, LICENSE, starts_at=NOW)], 99, "license"),
        ([grant("f", 1, LICENSE, starts_at=NOW - DAY), grant("f", 2, LICENSE)], 1, "license"),
        ([grant("f", 1, LICENSE), grant("f", 2, LICENSE)], 2, "license"),
    ],
)
def test_effective_features__grants_of_several_sources__licence_wins_and_add_ons_unite(
    grants: list[GrantFacts], value: FeatureValue, source: str
) -> None:
    feature = effective_features(make_facts(grants=grants), NOW)["f"]

    assert (feature.value, feature.source, feature.narrowed_by) == (value, source, None)


@pytest.mark.parametrize(
    ("grants", "until"),
    [
        ([grant("f", 20)], None),
        ([grant("f", 20), grant("f", 5, ADD_ON, expires_at=NOW + DAY)], NOW + DAY),
        ([grant("f", 20), grant("f", 5, LICENSE, starts_at=NOW + 2 * DAY)], NOW + 2 * DAY),
        ([grant("f", 20, expires_at=NOW + DAY), grant("f", 5, LICENSE, expires_at=NOW + 2 * DAY)], NOW + 2 * DAY),
    ],
)
def test_effective_features__grants_with_edges__until_is_when_the_value_changes(
    grants: list[GrantFacts], until: object
) -> None:
    assert effective_features(make_facts(grants=grants), NOW)["f"].until == until


def test_effective_features__no_grant_in_force__feature_is_absent() -> None:
    grants = [grant("past", True, expires_at=NOW), grant("future", True, starts_at=NOW + DAY)]

    assert effective_features(make_facts(grants=grants), NOW) == {}


@pytest.mark.parametrize(("value", "off"), [(True, False), (7, 0), (frozenset("ab"), frozenset())])
def test_effective_features__left_out_up_the_chain__is_off_and_names_the_nearest_agent(
    value: FeatureValue, off: FeatureValue
) -> None:
    agents = [
        make_agent(10, features=frozenset({"f"})),
        make_agent(11, features=frozenset()),
        make_agent(12, features=frozenset()),
    ]

    feature = effective_features(make_facts(agents=agents, grants=[grant("f", value)]), NOW)["f"]

    assert (feature.value, feature.narrowed_by, feature.granted) == (off, UUID(int=11), False)


@pytest.mark.parametrize(
    ("value", "asked", "allowed"),
    [
        (True, True, True),
        (True, 1, False),
        (False, True, False),
        (20, 20, True),
        (20, Decimal("20.000000000001"), False),
        (20, -1, True),
        (20, "20", False),
        (0, 0, False),
        (frozenset({"small"}), "small", True),
        (frozenset({"small"}), "sma", False),
        (frozenset({"small", "large"}), frozenset({"small", "huge"}), False),
        (frozenset(), frozenset(), False),
    ],
)
def test_allows__value_asked_for__is_within_the_grant(value: FeatureValue, asked: Any, allowed: bool) -> None:
    kind = grant("f", value).kind

    assert EffectiveFeature(kind, value, PLAN).allows(asked) is allowed


codes = st.sampled_from(["a", "b", "c"])
instants = st.sampled_from([None, NOW - DAY, NOW, NOW + DAY])
values = {"a": st.booleans(), "b": st.integers(0, 9), "c": st.frozensets(st.sampled_from("xyz"))}
grants_strategy = st.lists(
    codes.flatmap(
        lambda code: st.builds(
            grant,
            st.just(code),
            values[code],
            st.sampled_from(GrantSource),
            starts_at=instants,
            expires_at=instants,
        )
    ),
    max_size=8,
)
chains = st.lists(
    st.builds(make_agent, number=st.integers(10, 99), features=st.none() | st.frozensets(codes)), max_size=4
)


def _within(child: EffectiveFeature, parent: EffectiveFeature) -> bool:
    if parent.kind is FeatureKind.CHOICE:
        return child.value <= parent.value  # type: ignore[operator]
    return int(child.value) <= int(parent.value)  # type: ignore[arg-type]


@given(grants=grants_strategy, chain=chains)
def test_effective_features__any_chain__a_child_never_has_more_than_its_parent(
    grants: list[GrantFacts], chain: list[Any]
) -> None:
    parent = effective_features(make_facts(grants=grants, agents=chain), NOW)
    child = effective_features(make_facts(grants=grants, agents=[make_agent(5, features=frozenset("ab")), *chain]), NOW)

    assert child.keys() == parent.keys()
    assert all(_within(child[code], parent[code]) for code in child)


@given(grants=grants_strategy, chain=chains)
def test_effective_feature__any_facts__is_the_same_as_among_all(grants: list[GrantFacts], chain: list[Any]) -> None:
    facts = make_facts(grants=grants, agents=chain)

    every = effective_features(facts, NOW)

    assert {code: effective_feature(facts, code, NOW) for code in "abc"} == {code: every.get(code) for code in "abc"}
