from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licenses.domain.decision import RULES, chain_is_revoked, decide_license
from licenses.domain.enums import AgentStatus, LapsePolicy, LicenseStatus, ReasonCode
from licenses.domain.facts import AccessFacts, ActivationFacts
from tenants.domain.enums import CustomerStatus, TenantStatus
from tests.licenses.domain.builders import DAY, NOW, SECOND, grant, make_agent, make_facts, make_license

MODELS = grant("models", frozenset({"small", "large"}))
ACTIVATION = ActivationFacts(UUID(int=30), "host-7")

CASES: list[tuple[str, AccessFacts, dict[str, Any]]] = [
    ("license_revoked", make_facts(license=make_license(status=LicenseStatus.REVOKED)), {}),
    ("license_suspended", make_facts(license=make_license(status=LicenseStatus.SUSPENDED)), {}),
    ("license_not_started", make_facts(license=make_license(starts_at=NOW + SECOND)), {}),
    ("license_expired", make_facts(license=make_license(expires_at=NOW)), {}),
    ("customer_suspended", make_facts(customer=CustomerStatus.SUSPENDED), {}),
    ("customer_suspended", make_facts(customer=CustomerStatus.ARCHIVED), {}),
    ("tenant_suspended", make_facts(tenant=TenantStatus.SUSPENDED), {}),
    ("agent_revoked", make_facts(agents=[make_agent(status=AgentStatus.REVOKED)]), {}),
    ("agent_suspended", make_facts(agents=[make_agent(status=AgentStatus.SUSPENDED)]), {}),
    ("agent_expired", make_facts(agents=[make_agent(expires_at=NOW)]), {}),
    ("parent_agent_inactive", make_facts(agents=[make_agent(), make_agent(11, status=AgentStatus.SUSPENDED)]), {}),
    ("parent_agent_inactive", make_facts(agents=[make_agent(), make_agent(11, status=AgentStatus.REVOKED)]), {}),
    ("parent_agent_inactive", make_facts(agents=[make_agent(), make_agent(11), make_agent(12, expires_at=NOW)]), {}),
    ("product_mismatch", make_facts(), {"product": "writer"}),
    ("feature_not_granted", make_facts(), {"features": ["web_search"]}),
    ("feature_not_granted", make_facts(grants=[grant("web_search", False)]), {"features": ["web_search"]}),
    ("feature_not_granted", make_facts(), {"feature_value": ("models", "large")}),
    ("feature_value_not_allowed", make_facts(grants=[MODELS]), {"feature_value": ("models", "huge")}),
    ("feature_value_not_allowed", make_facts(grants=[grant("max_tools", 20)]), {"feature_value": ("max_tools", 21)}),
    ("feature_value_not_allowed", make_facts(grants=[grant("max_tools", 20)]), {"feature_value": ("max_tools", True)}),
    ("feature_value_not_allowed", make_facts(grants=[grant("search", True)]), {"feature_value": ("search", "yes")}),
    ("fingerprint_required", make_facts(activation_required=True), {}),
    ("not_activated", make_facts(activation_required=True), {"fingerprint": "host-7"}),
    (
        "activation_lapsed",
        make_facts(activation_required=True),
        {"fingerprint": "host-7", "activation": ActivationFacts(UUID(int=30), "host-7", NOW)},
    ),
]


@pytest.mark.parametrize(("code", "facts", "asked"), CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(CASES)])
def test_decide_license__one_thing_wrong__says_exactly_that(
    code: str, facts: AccessFacts, asked: dict[str, Any]
) -> None:
    decision = decide_license(facts, at=NOW, **asked)

    assert decision.valid is False
    assert decision.code == code
    assert [(reason.code, reason.blocks) for reason in decision.reasons] == [(code, True)]
    assert len(decision.reasons[0].message.split(". ")) >= 2, "what is wrong, then the next step"


def test_decide_license__every_blocking_code__is_in_the_table() -> None:
    assert {case[0] for case in CASES} == set(ReasonCode) - {"valid", "grace_period"}


@pytest.mark.parametrize(
    ("facts", "asked"),
    [
        (make_facts(), {}),
        (make_facts(agents=()), {}),
        (make_facts(license=make_license(starts_at=NOW, expires_at=NOW + SECOND)), {"product": "researcher"}),
        (make_facts(agents=[make_agent(expires_at=NOW + SECOND), make_agent(11)]), {}),
        (make_facts(grants=[MODELS]), {"features": ["models"], "feature_value": ("models", "large")}),
        (make_facts(grants=[MODELS]), {"feature_value": ("models", frozenset({"large", "small"}))}),
        (make_facts(grants=[grant("max_tools", 20)]), {"feature_value": ("max_tools", 20)}),
        (make_facts(grants=[grant("web_search", True)]), {"feature_value": ("web_search", True)}),
        (make_facts(), {"fingerprint": "host-7"}),
        (make_facts(activation_required=True), {"fingerprint": "host-7", "activation": ACTIVATION}),
    ],
)
def test_decide_license__nothing_wrong__is_valid_without_reasons(facts: AccessFacts, asked: dict[str, Any]) -> None:
    decision = decide_license(facts, at=NOW, **asked)

    assert (decision.valid, decision.code, decision.reasons) == (True, "valid", ())


def test_decide_license__everything_wrong__gives_every_reason_weightiest_first() -> None:
    # Revoked and suspended exclude each other, so it takes two agents' and two licences' worth of trouble.
    facts = make_facts(
        tenant=TenantStatus.SUSPENDED,
        customer=CustomerStatus.SUSPENDED,
        license=make_license(status=LicenseStatus.REVOKED, starts_at=NOW + DAY, expires_at=NOW - DAY),
        agents=[
            make_agent(status=AgentStatus.REVOKED, expires_at=NOW),
            make_agent(11, status=AgentStatus.SUSPENDED),
        ],
        grants=[MODELS],
        activation_required=True,
    )

    decision = decide_license(
        facts, at=NOW, features=["one", "models", "two", "one"], feature_value=("models", "huge"), product="writer"
    )

    assert decision.code == "license_revoked"
    assert [reason.code.value for reason in decision.reasons] == [
        "license_revoked",
        "agent_revoked",
        "tenant_suspended",
        "customer_suspended",
        "license_expired",
        "license_not_started",
        "agent_expired",
        "parent_agent_inactive",
        "product_mismatch",
        "feature_not_granted",
        "feature_not_granted",
        "feature_value_not_allowed",
        "fingerprint_required",
    ]
    assert [reason.extra["feature"] for reason in decision.reasons if reason.code == "feature_not_granted"] == [
        "one",
        "two",
    ]


@pytest.mark.parametrize(
    ("after_expiry", "valid", "code"),
    [
        (-SECOND, True, "valid"),
        (timedelta(0), True, "grace_period"),
        (7 * DAY - SECOND, True, "grace_period"),
        (7 * DAY, False, "license_expired"),
    ],
)
def test_decide_license__around_expiry_with_grace__edges_are_half_open(
    after_expiry: timedelta, valid: bool, code: str
) -> None:
    facts = make_facts(license=make_license(expires_at=NOW, grace=7 * DAY, starts_at=NOW - 30 * DAY))

    decision = decide_license(facts, at=NOW + after_expiry)

    assert (decision.valid, decision.code) == (valid, code)


def test_decide_license__in_grace__warns_until_the_end_of_grace() -> None:
    facts = make_facts(license=make_license(expires_at=NOW - DAY, grace=2 * DAY))

    [warning] = decide_license(facts, at=NOW).reasons

    assert (warning.blocks, warning.retryable, warning.until) == (False, False, NOW + DAY)


def test_decide_license__in_grace_but_suspended__suspension_is_the_code_and_grace_stays_in_the_list() -> None:
    license = make_license(status=LicenseStatus.SUSPENDED, expires_at=NOW, grace=DAY)

    decision = decide_license(make_facts(license=license), at=NOW)

    assert (decision.valid, decision.code) == (False, "license_suspended")
    assert [reason.code.value for reason in decision.reasons] == ["license_suspended", "grace_period"]


def test_decide_license__not_started__may_be_retried_at_the_start() -> None:
    [reason] = decide_license(make_facts(license=make_license(starts_at=NOW + DAY)), at=NOW).reasons

    assert (reason.retryable, reason.until) == (True, NOW + DAY)


def test_decide_license__feature_granted_later__says_when() -> None:
    facts = make_facts(grants=[grant("web_search", True, starts_at=NOW + DAY)])

    [reason] = decide_license(facts, at=NOW, features=["web_search"]).reasons

    assert (reason.code, reason.retryable, reason.until) == ("feature_not_granted", True, NOW + DAY)


def test_decide_license__feature_left_out_by_a_parent__says_by_whom() -> None:
    facts = make_facts(
        agents=[make_agent(), make_agent(11, features=frozenset({"other"}))], grants=[grant("web_search", True)]
    )

    [reason] = decide_license(facts, at=NOW, features=["web_search"]).reasons

    assert reason.extra == {"feature": "web_search", "narrowed_by": UUID(int=11)}


def test_decide_license__lapse_only_warns__holds_with_a_warning() -> None:
    facts = make_facts(activation_required=True, lapse_policy=LapsePolicy.WARN)
    lapsed = ActivationFacts(UUID(int=30), "host-7", NOW - DAY)

    decision = decide_license(facts, at=NOW, fingerprint="host-7", activation=lapsed)

    assert (decision.valid, decision.code) == (True, "valid")
    assert [(reason.code.value, reason.blocks) for reason in decision.reasons] == [("activation_lapsed", False)]


def test_chain_is_revoked__grandparent_revoked__kills_the_tree() -> None:
    living = make_facts(agents=[make_agent(), make_agent(11, status=AgentStatus.SUSPENDED)])
    dead = make_facts(agents=[make_agent(), make_agent(11), make_agent(12, status=AgentStatus.REVOKED)])

    assert (chain_is_revoked(living), chain_is_revoked(dead)) == (False, True)


chains = st.lists(
    st.builds(
        make_agent,
        number=st.integers(10, 99),
        status=st.sampled_from(AgentStatus),
        expires_at=st.sampled_from([None, NOW - DAY, NOW, NOW + DAY]),
        features=st.none() | st.frozensets(st.sampled_from(["a", "b", "c"])),
    ),
    min_size=2,
    max_size=4,
)


@given(chain=chains, asked=st.sampled_from(["a", "b", "c", "d"]))
def test_decide_license__any_chain__a_child_never_may_what_its_parent_may_not(chain: list[Any], asked: str) -> None:
    grants = [grant("a", True), grant("b", 5), grant("c", frozenset({"x"}))]

    child = decide_license(make_facts(agents=chain, grants=grants), at=NOW, features=[asked])
    parent = decide_license(make_facts(agents=chain[1:], grants=grants), at=NOW, features=[asked])

    assert parent.valid or not child.valid


@given(st.data())
def test_decide_license__any_facts__code_is_the_first_blocking_reason(data: st.DataObject) -> None:
    facts = make_facts(
        tenant=data.draw(st.sampled_from(TenantStatus)),
        customer=data.draw(st.sampled_from(CustomerStatus)),
        license=make_license(
            status=data.draw(st.sampled_from(LicenseStatus)),
            expires_at=data.draw(st.sampled_from([None, NOW - DAY, NOW + DAY])),
            grace=data.draw(st.sampled_from([timedelta(0), 3 * DAY])),
        ),
        agents=data.draw(chains),
    )

    decision = decide_license(facts, at=NOW)

    blocking = [reason.code for reason in decision.reasons if reason.blocks]
    assert decision.valid is not bool(blocking)
    if blocking:
        assert decision.code == blocking[0]
    assert len(decision.reasons) <= len(RULES)
