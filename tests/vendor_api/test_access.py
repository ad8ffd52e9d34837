"""AuthZEN 1.0: the standard's messages, the mapping to features, and that no yes is ever stale."""

from __future__ import annotations

from typing import Any

import pytest

from common.valkey import valkey
from tests.agent_door import AgentDoor
from tests.factories import make_api_key
from tests.vectors import authzen_vectors
from tests.vendor_api.access_door import Gateway, question
from tests.vendor_api.door import Answer, Door
from tests.vendor_api.shop import Shop
from vendor_api.access.deciding import Semantic
from vendor_api.access.subjects import forget_all

NOBODY = "agt_00000000000000000000000000"


@pytest.fixture
def gateway(shop: Shop) -> Gateway:
    return Gateway(shop.door)


def codes(answer: Answer) -> list[str]:
    return [reason["code"] for reason in answer["context"]["reasons"]]


def test_evaluation__of_what_is_granted__is_true_for_agent_and_licence(shop: Shop, gateway: Gateway) -> None:
    agent, license = shop.agent["id"], shop.license["id"]

    as_agent, as_license = gateway.ask(agent, "model", "large"), gateway.ask(license, "model", "large")

    context = {"code": "valid", "reasons": [], "license": license}
    assert (as_agent.status, as_agent.json) == (200, {"decision": True, "context": {**context, "agent": agent}})
    assert (as_license.status, as_license.json) == (200, {"decision": True, "context": {**context, "agent": None}})
    assert as_agent.headers["Content-Type"] == "application/json"
    assert as_agent.headers["Cache-Control"] == "no-store"


#: What is asked (type, id, properties of the resource), and the decision with its reason.
MAPPED: list[tuple[str, str, dict[str, Any], bool, str | None]] = [
    ("feature", "web_search", {}, True, None),
    ("feature", "code", {}, False, "feature_not_granted"),
    ("feature", "models", {}, True, None),
    ("feature", "models", {"value": "small"}, True, None),
    ("feature", "models", {"value": "huge"}, False, "feature_value_not_allowed"),
    ("feature", "models", {"value": ["small", "large"]}, True, None),
    ("feature", "models", {"value": ["small", "huge"]}, False, "feature_value_not_allowed"),
    ("feature", "max_tools", {"value": 20}, True, None),
    ("feature", "max_tools", {"value": 20.5}, False, "feature_value_not_allowed"),
    ("feature", "max_tools", {"value": "20"}, False, "feature_value_not_allowed"),
    ("feature", "web_search", {"value": "yes"}, False, "feature_value_not_allowed"),
    ("models", "small", {}, True, None),
    ("model", "small", {}, True, None),
    ("model", "huge", {}, False, "feature_value_not_allowed"),
    ("model", "ignored", {"value": "large"}, True, None),
    ("llm", "large", {"feature": "models", "value": "large"}, True, None),
    ("llm", "large", {"feature": "models"}, True, None),
    ("llm", "huge", {"feature": "models"}, False, "feature_value_not_allowed"),
    ("tool", "web_search", {}, True, None),
    ("tool", "code", {}, False, "feature_not_granted"),
    ("web_search", "any", {}, True, None),
    ("account", "web_search", {}, False, "feature_not_granted"),
    ("product", "researcher", {}, True, None),
    ("product", "other", {}, False, "product_mismatch"),
]


def test_evaluation__of_many_resources__is_mapped_to_features(shop: Shop, gateway: Gateway) -> None:
    for type, id, properties, decision, code in MAPPED:
        answer = gateway.ask(shop.agent["id"], type, id, **properties)

        assert answer.status == 200
        assert (answer["decision"], answer["context"]["code"]) == (decision, code or "valid"), (type, id, properties)
        assert codes(answer) == ([code] if code else [])


def test_evaluation__of_a_tool_where_a_feature_lists_tools__asks_for_its_value(shop: Shop, gateway: Gateway) -> None:
    feature = {"product": "researcher", "code": "tools", "name": "Tools", "kind": "choice", "choices": ["calendar"]}
    shop.door.made("/features", feature)
    shop.door.patch(f"/licenses/{shop.license['id']}", {"grants": [{"feature": "tools", "value": ["calendar"]}]})

    assert gateway.decides(shop.license["id"], "tool", "calendar")
    assert not gateway.decides(shop.license["id"], "tool", "web_search")


def test_evaluation__value_in_the_actions_properties__is_asked_for(shop: Shop, gateway: Gateway) -> None:
    asked = question(shop.agent["id"], "feature", "max_tools")
    decisions = []
    for value in (20, 21):
        asked["action"]["properties"] = {"value": value}
        decisions.append(gateway.post("/evaluation", asked)["decision"])

    assert decisions == [True, False]


def test_evaluation__denied__carries_every_reason_with_its_next_step(shop: Shop, gateway: Gateway) -> None:
    door = shop.door
    door.patch(f"/agents/{shop.agent['id']}", {"features": ["web_search"]})
    door.post(f"/licenses/{shop.license['id']}/suspend", {"reason": "unpaid"})
    door.post(f"/agents/{shop.agent['id']}/suspend")

    answer = gateway.ask(shop.agent["id"], "model", "large")

    assert (answer["decision"], answer["context"]["code"]) == (False, "license_suspended")
    assert codes(answer) == ["license_suspended", "agent_suspended", "feature_not_granted"]
    assert answer["context"]["reasons"][2] == {
        "code": "feature_not_granted",
        "message": "The feature 'models' is not among those of this agent or its parents. Widen the agent's features.",
        "blocks": True,
        "retryable": False,
        "until": None,
        "feature": "models",
        "narrowed_by": shop.agent["id"],
    }


@pytest.mark.parametrize(
    ("type", "id"),
    [
        ("agent", NOBODY),
        ("agent", "alice"),
        ("license", NOBODY),
        ("agent", ""),
        ("user", "alice@example.com"),
    ],
)
def test_evaluation__of_nobody_here__is_a_denial(gateway: Gateway, type: str, id: str) -> None:
    asked = question(NOBODY, "feature", "web_search")
    asked["subject"] = {"type": type, "id": id}

    answer = gateway.post("/evaluation", asked)

    if id:
        assert (answer.status, answer["decision"], answer["context"]["code"]) == (200, False, "subject_unknown")
        assert answer["context"]["license"] is None
    else:
        assert (answer.status, answer.fields) == (400, {"subject.id": "invalid"})


def test_evaluation__of_anothers_agent__is_told_as_one_that_never_was(shop: Shop, gateway: Gateway) -> None:
    stranger = Gateway(Door())
    assert gateway.decides(shop.agent["id"], "feature", "web_search")

    for id in (shop.agent["id"], shop.license["id"]):
        foreign = stranger.ask(id, "feature", "web_search")
        nobody = stranger.ask(f"{id[:4]}{NOBODY[4:]}", "feature", "web_search")
        assert foreign.json == nobody.json
        assert foreign["decision"] is False


def test_evaluation__key_of_another_scope_or_kind__is_refused(shop: Shop, gateway: Gateway) -> None:
    body = question(shop.agent["id"], "feature", "web_search")
    reader = make_api_key(shop.door.tenant, scopes=("licenses:write", "agents:write")).text
    publishable = make_api_key(shop.door.tenant, kind="publishable", scopes=()).text
    for path in ("/evaluation", "/evaluations"):
        lacking = gateway.door.call("POST", path, body, key=reader)
        assert (lacking.status, lacking.code, lacking["scope"]) == (403, "insufficient_scope", "decisions:read")
        for key in (publishable, shop.agent_key):
            assert gateway.door.call("POST", path, body, key=key).code == "wrong_key_kind"
        assert gateway.door.call("POST", path, {}, key="nonsense").status == 401
        assert gateway.door.call("GET", path).code == "method_not_allowed"
    # The key opens nothing else.
    assert Door.call(shop.door, "GET", "/licenses", key=gateway.door.key).code == "insufficient_scope"


BAD: list[tuple[Any, dict[str, str]]] = [
    ({}, {"subject": "required", "action": "required", "resource": "required"}),
    ({"subject": "x", "action": [], "resource": None}, dict.fromkeys(("subject", "action", "resource"), "wrong_type")),
    (
        {"subject": {}, "action": {}, "resource": {}},
        dict.fromkeys(("subject.type", "subject.id", "action.name", "resource.type", "resource.id"), "required"),
    ),
    (
        {"subject": {"type": 1, "id": "x" * 1001}, "action": {"name": ""}, "resource": {"type": "x", "id": None}},
        {"subject.type": "wrong_type", "subject.id": "invalid", "action.name": "invalid", "resource.id": "wrong_type"},
    ),
    (
        question(NOBODY, "feature", "x", value={}, feature=7) | {"context": []},
        {
            "context": "wrong_type",
            "resource.properties.value": "wrong_type",
            "resource.properties.feature": "wrong_type",
        },
    ),
    (question(NOBODY, "feature", "x", value=["a", 1]), {"resource.properties.value": "wrong_type"}),
    (question(NOBODY, "feature", "x") | {"context": {"fingerprint": 1}}, {"context.fingerprint": "wrong_type"}),
    (question(NOBODY, "feature", "x") | {"context": {"fingerprint": "x" * 257}}, {"context.fingerprint": "too_long"}),
    (
        question(NOBODY, "feature", "x") | {"context": {"fingerprint": "a", "instance": "b"}},
        {"context.instance": "one_of"},
    ),
    (
        question("lic_00000000000000000000000000", "feature", "x") | {"context": {"instance": "b"}},
        {"context.instance": "only_for_agents"},
    ),
]


@pytest.mark.parametrize(("body", "fields"), BAD)
@pytest.mark.parametrize("path", ["/evaluation", "/evaluations"])
@pytest.mark.django_db
def test_evaluation__that_is_none__is_a_400_naming_each_member(path: str, body: Any, fields: dict[str, str]) -> None:
    answer = Gateway(Door()).post(path, body)

    assert (answer.status, answer.code, answer.fields) == (400, "invalid", fields)


@pytest.mark.parametrize(
    ("raw", "content_type", "expected"),
    [
        (b"{", "application/json", (400, "malformed_json")),
        (b"", "application/json", (400, "malformed_json")),
        (b"[]", "application/json", (400, "invalid")),
        (b'{"a": NaN}', "application/json", (400, "malformed_json")),
        (b"{}", "text/plain", (415, "unsupported_media_type")),
        (b'"' + b"x" * 1024 * 1024 + b'"', "application/json", (413, "body_too_large")),
    ],
)
@pytest.mark.django_db
def test_evaluation__body_that_cannot_be_read__is_a_problem(raw: bytes, content_type: str, expected: Any) -> None:
    answer = Gateway(Door()).door.call("POST", "/evaluation", raw=raw, content_type=content_type)

    assert (answer.status, answer.code) == expected


def test_evaluation__members_that_the_standard_may_gain__are_let_through(shop: Shop, gateway: Gateway) -> None:
    asked = question(shop.agent["id"], "feature", "web_search")
    asked |= {"context": {"time": "1985-10-26T01:22-07:00"}, "later": 1}
    asked["subject"] |= {"properties": {"department": "Sales"}, "later": 1}

    assert gateway.post("/evaluation", asked)["decision"] is True


def test_evaluation__request_id__is_echoed(gateway: Gateway) -> None:
    request_id = "bfe9eb29-ab87-4ca3-be83-a1d5d8305716"

    for body, status in ((question(NOBODY, "feature", "x"), 200), ({}, 400)):
        answer = gateway.post("/evaluation", body, X_Request_ID=request_id)
        assert (answer.status, answer.headers["X-Request-ID"]) == (status, request_id)


def test_evaluation__the_standards_own_example__is_denied_by_its_words(gateway: Gateway) -> None:
    vector = authzen_vectors()

    answer = gateway.post(vector["path"].removeprefix("/access/v1"), vector["request"])

    assert answer.status == vector["deny"]["http"]
    assert {"decision": answer["decision"]} == vector["deny"]["body"]
    assert [each.value for each in Semantic] == vector["batch_semantics"]


@pytest.mark.django_db
def test_evaluations__the_standards_example_of_a_batch__answers_each_in_order(gateway: Gateway) -> None:
    """Three documents that Permeter does not know, with a subject, context and action from the top."""
    documents = ("boxcarring.md", "subject-search.md", "resource-search.md")
    body: dict[str, Any] = {
        "subject": {"type": "user", "id": "alice@acmecorp.com"},
        "context": {"time": "2024-05-31T15:22-07:00"},
        "action": {"name": "can_read"},
        "evaluations": [{"resource": {"type": "document", "id": id}} for id in documents],
    }
    body["evaluations"][2]["action"] = {"name": "can_edit"}

    answer = gateway.post("/evaluations", body)

    assert answer.status == 200
    assert [each["decision"] for each in answer["evaluations"]] == [False] * 3


def batch(*resources: tuple[str, str], semantic: str | None = None, **more: Any) -> dict[str, Any]:
    body = {"evaluations": [{"resource": {"type": type, "id": id}} for type, id in resources], **more}
    return body | ({"options": {"evaluations_semantic": semantic, "another_option": "value"}} if semantic else {})


@pytest.mark.parametrize(
    ("semantic", "decisions"),
    [
        (None, [True, False, True, False]),
        ("execute_all", [True, False, True, False]),
        ("deny_on_first_deny", [True, False]),
        ("permit_on_first_permit", [True]),
    ],
)
def test_evaluations__of_each_semantic__end_where_it_says(
    shop: Shop, gateway: Gateway, semantic: str | None, decisions: list[bool]
) -> None:
    resources = (("model", "large"), ("model", "huge"), ("feature", "web_search"), ("feature", "code"))
    defaults = {"subject": {"type": "agent", "id": shop.agent["id"]}, "action": {"name": "use"}}

    answer = gateway.post("/evaluations", batch(*resources, semantic=semantic, **defaults))

    assert answer.status == 200
    assert list(answer.json) == ["evaluations"]
    assert [each["decision"] for each in answer["evaluations"]] == decisions


def test_evaluations__that_permit_on_first_permit__pass_over_denials_before_it(shop: Shop, gateway: Gateway) -> None:
    defaults = {"subject": {"type": "agent", "id": shop.agent["id"]}, "action": {"name": "use"}}
    resources = (("model", "huge"), ("model", "large"), ("model", "small"))

    answer = gateway.post("/evaluations", batch(*resources, semantic="permit_on_first_permit", **defaults))

    assert [each["decision"] for each in answer["evaluations"]] == [False, True]


def test_evaluations__with_values_of_their_own__do_not_take_the_defaults(shop: Shop, gateway: Gateway) -> None:
    body = question(shop.agent["id"], "model", "large") | {
        "evaluations": [
            {},
            {"subject": {"type": "license", "id": shop.license["id"]}},
            {"subject": {"type": "agent", "id": NOBODY}},
            {"resource": {"type": "model", "id": "huge"}},
            # An entity is replaced as a whole, never merged.
            {"resource": {"type": "model"}},
            "nonsense",
        ]
    }

    found = gateway.post("/evaluations", body)["evaluations"]

    assert [each["decision"] for each in found] == [True, True, False, False, False, False]
    assert [each["context"]["code"] for each in found] == [
        *("valid", "valid", "subject_unknown", "feature_value_not_allowed", "invalid", "invalid")
    ]
    assert [each["context"]["agent"] for each in found[:3]] == [shop.agent["id"], None, None]
    assert found[4]["context"]["error"] == {"status": 400, "message": "resource.id: This member is required."}


@pytest.mark.parametrize("evaluations", [None, []])
def test_evaluations__without_any__are_answered_as_one(shop: Shop, gateway: Gateway, evaluations: Any) -> None:
    body = question(shop.agent["id"], "model", "large")
    body |= {} if evaluations is None else {"evaluations": evaluations}

    answer = gateway.post("/evaluations", body)

    assert (answer.status, answer.json) == (200, gateway.ask(shop.agent["id"], "model", "large").json)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"evaluations": {}}, {"evaluations": "wrong_type"}),
        ({"evaluations": [{}] * 1001}, {"evaluations": "too_many"}),
        ({"evaluations": [{}], "options": []}, {"options": "wrong_type"}),
        (
            {"evaluations": [{}], "options": {"evaluations_semantic": "all"}},
            {"options.evaluations_semantic": "invalid_choice"},
        ),
        (
            {"evaluations": [{}], "options": {"evaluations_semantic": []}},
            {"options.evaluations_semantic": "invalid_choice"},
        ),
    ],
)
@pytest.mark.django_db
def test_evaluations__that_are_none__are_a_400(body: Any, fields: dict[str, str]) -> None:
    answer = Gateway(Door()).post("/evaluations", body)

    assert (answer.status, answer.fields) == (400, fields)


def test_evaluations__a_thousand_about_one_agent__need_one_snapshot(
    shop: Shop, gateway: Gateway, django_assert_max_num_queries: Any
) -> None:
    body = batch(*[("model", "large")] * 1000, **question(shop.agent["id"], "model", "large"))
    for _ in range(2):
        gateway.post("/evaluations", body)

    with django_assert_max_num_queries(2):
        answer = gateway.post("/evaluations", body)

    assert [each["decision"] for each in answer["evaluations"]] == [True] * 1000


@pytest.mark.django_db(transaction=True)
def test_evaluation__where_the_plan_demands_activation__asks_for_the_machines(shop: Shop, gateway: Gateway) -> None:
    shop.door.patch("/plans/pro", {"activation_required": True})
    agents_door = AgentDoor(shop.agent_key)
    asked = question(shop.agent["id"], "feature", "web_search")

    def code(**context: str) -> str:
        return str(gateway.post("/evaluation", asked | {"context": context})["context"]["code"])

    assert (code(), code(fingerprint="host-7")) == ("fingerprint_required", "not_activated")
    activation = agents_door.post("/activations", {"fingerprint": "host-7"})
    agents_door.post("/activations", {"instance": "copy-1"})
    assert (code(fingerprint="host-7"), code(fingerprint="host-8")) == ("valid", "not_activated")
    assert (code(instance="copy-1"), code(instance="copy-2")) == ("valid", "not_activated")
    batch = asked | {"evaluations": [{"context": {"fingerprint": f"host-{number}"}} for number in (6, 7, 8)]}
    found = gateway.post("/evaluations", batch)["evaluations"]
    assert [each["decision"] for each in found] == [False, True, False]

    agents_door.call("DELETE", f"/activations/{activation['id']}")
    assert code(fingerprint="host-7") == "not_activated"


#: What a vendor does, and what every agent is told from then on.
TAKEN_BACK: list[tuple[str, Any, str]] = [
    ("POST /licenses/{license}/suspend", {}, "license_suspended"),
    ("POST /licenses/{license}/revoke", {}, "license_revoked"),
    ("POST /customers/{customer}/suspend", {}, "customer_suspended"),
    ("POST /agents/{agent}/suspend", {}, "agent_suspended"),
    ("POST /agents/{agent}/revoke", {}, "agent_revoked"),
    ("DELETE /agents/{agent}", None, "agent_revoked"),
    ("DELETE /licenses/{license}", None, "license_revoked"),
    ("PATCH /agents/{agent}", {"features": []}, "feature_not_granted"),
    ("PATCH /plans/pro", {"grants": []}, "feature_not_granted"),
    ("PATCH /licenses/{license}", {"grants": [{"feature": "web_search", "value": False}]}, "feature_not_granted"),
]


@pytest.mark.parametrize(("call", "body", "code"), TAKEN_BACK)
@pytest.mark.parametrize("valkey_forgets", [False, True])
@pytest.mark.django_db(transaction=True)
def test_evaluation__taken_back__the_next_answer_says_so(
    shop: Shop, gateway: Gateway, call: str, body: Any, code: str, valkey_forgets: bool
) -> None:
    agent = shop.agent["id"]
    assert [gateway.decides(agent, "feature", "web_search") for _ in range(3)] == [True] * 3
    method, path = call.split()
    ids = {"license": shop.license["id"], "agent": agent, "customer": shop.customer["id"]}

    assert shop.door.call(method, path.format(**ids), body).status in {200, 204}
    if valkey_forgets:
        valkey().flushdb()

    answer = gateway.ask(agent, "feature", "web_search")
    assert (answer["decision"], answer["context"]["code"]) == (False, code)


@pytest.mark.django_db(transaction=True)
def test_evaluation__idempotency_key__is_not_looked_at(shop: Shop, gateway: Gateway) -> None:
    body = question(shop.agent["id"], "feature", "web_search")
    assert gateway.post("/evaluation", body, Idempotency_Key="once")["decision"] is True
    shop.door.post(f"/licenses/{shop.license['id']}/suspend")

    assert gateway.post("/evaluation", body, Idempotency_Key="once")["decision"] is False


@pytest.mark.django_db(transaction=True)
def test_evaluation__warm__asks_postgres_for_the_key_alone(
    shop: Shop, gateway: Gateway, django_assert_max_num_queries: Any
) -> None:
    forget_all()
    for _ in range(2):
        assert gateway.decides(shop.agent["id"], "feature", "web_search")

    with django_assert_max_num_queries(2):
        assert gateway.decides(shop.agent["id"], "feature", "web_search")


def test_configuration__anybody__is_told_where_to_ask(gateway: Gateway, settings: Any) -> None:
    settings.BASE_URL = "https://permeter.example"

    response = gateway.door.client.get("/.well-known/authzen-configuration")

    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    assert response.json() == {
        "policy_decision_point": "https://permeter.example",
        "access_evaluation_endpoint": "https://permeter.example/access/v1/evaluation",
        "access_evaluations_endpoint": "https://permeter.example/access/v1/evaluations",
    }
    assert gateway.door.client.post("/.well-known/authzen-configuration").status_code == 405
