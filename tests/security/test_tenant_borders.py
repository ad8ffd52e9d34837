"""What belongs to another workspace cannot be told from what does not exist, on any route of either door."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.security.neighbour import Neighbour, made_up, prefix_kinds
from tests.security.routes import Route, all_routes
from tests.vendor_api.door import Door
from vendor_api.filters.base import IdFilter, NameFilter, TextFilter
from vendor_api.serializers.fields import ReferenceField
from vendor_api.serializers.licenses import CustomerReferenceField
from vendor_api.serializers.quotas import OnField

pytestmark = pytest.mark.django_db

OF_THE_MOMENT = {"request_id", "server_time"}
METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")
MALFORMED = ("nonsense", "lic_", "%00", "..", "a" * 300, "%C3%A9", "0")

THROTTLE = {"limit": 1, "window": 60, "for": 60}

#: Bodies of routes that ask for something before they look for what the path names.
BODIES: dict[str, dict[str, Any]] = {
    "agent /holds/{hold}/settle": {"usage": []},
    "agent /holds/{hold}/extend": {"ttl": 60},
    "vendor /licenses/{id}/transfer": {"customer": {"external_id": "somebody"}},
    "vendor /agents/{id}/throttle": THROTTLE,
    "vendor /licenses/{id}/agents/throttle": THROTTLE,
    "vendor /customers/{id}/agents/throttle": THROTTLE,
}


def call(us: Neighbour, route: Route, method: str, path: str, body: Any = None, **more: Any) -> Any:
    if route.door == "agent":
        return us.agents_door.call(method, path, body)
    return us.door.call(method, path, body, **more)


def seen(answer: Any, *sent: str) -> tuple[int, str, tuple[tuple[str, str], ...]]:
    """All that the caller can see of an answer, but for what differs anyhow: its own id, and the text that was sent."""
    body = answer.json
    if isinstance(body, dict):
        body = {k: v for k, v in body.items() if k not in OF_THE_MOMENT}
    text = json.dumps(body)
    for each in sent:
        text = text.replace(each, "SENT")
    # `Connection` tells whether the body was read, which depends on what was sent alone.
    ours = {"x-request-id", "content-length", "ratelimit", "content-security-policy", "connection"}
    headers = tuple(sorted((k.lower(), v) for k, v in answer.headers.items() if k.lower() not in ours))
    return answer.status, text, headers


def test_paths__ids_that_are_foreign_made_up_or_malformed__are_answered_the_same() -> None:
    us, them = Neighbour(), Neighbour()
    before = them.reading()
    looked_at = 0
    for route in all_routes():
        if not route.parameters:
            continue
        for place, (name, kind) in enumerate(route.parameters):
            assert kind in them.ids, f"{route}: no sample is known of what {{{name}}} names: add one to Neighbour"
            own = {other: us.ids[other_kind] for other, other_kind in route.parameters[:place]}
            behind = {other: them.ids[other_kind] for other, other_kind in route.parameters[place + 1 :]}
            texts = [them.ids[kind], made_up(them.ids[kind]), *MALFORMED]
            if kind in them.names:
                texts.append(them.names[kind])
            for method in METHODS:
                body = BODIES.get(str(route), {}) if method in {"POST", "PATCH", "PUT"} else None
                answers = [
                    call(us, route, method, route.filled(**own, **behind, **{name: text}), body) for text in texts
                ]
                known = method in route.operations
                assert {answer.status for answer in answers} == {404 if known else 405}, (str(route), method, answers)
                assert len({seen(answer) for answer in answers}) == 1, (str(route), method, answers)
                looked_at += known
    assert looked_at > 45
    assert them.reading() == before


def test_paths__own_ids__are_found() -> None:
    """So that the test above does not pass because its samples are wrong."""
    us = Neighbour()
    for route in all_routes():
        if not route.parameters or "GET" not in route.operations:
            continue
        path = route.filled(**{name: us.ids[kind] for name, kind in route.parameters})
        assert call(us, route, "GET", path).status == 200, str(route)


def test_filters__names_of_others__list_what_made_up_ones_do() -> None:
    us, them = Neighbour(), Neighbour()
    kinds = prefix_kinds(them)
    looked_at = 0
    for route in all_routes():
        operation = route.operations.get("GET")
        query = getattr(operation, "query", None)
        if query is None:
            continue
        path = route.filled(**{name: us.ids[kind] for name, kind in route.parameters})
        required = {
            name: {"meter": us.ids["meters"], "from": "2026-01-01T00:00:00Z"}[name]
            for name, each in query.base_filters.items()
            if each.extra["required"]
        }
        for number, (name, each) in enumerate(query.base_filters.items()):
            for text in _foreign(each, kinds, them, number):
                nobody = made_up(text)
                answers = [us.door.get(path, **{**required, name: value}) for value in (text, nobody)]
                assert seen(answers[0], text) == seen(answers[1], nobody), (str(route), name, text, answers)
                looked_at += 1
    assert looked_at > 60


def _foreign(each: Any, kinds: dict[str, str], them: Neighbour, number: int) -> list[str]:
    """What of theirs could be asked for with this filter; of the many texts some, other ones for each filter."""
    if isinstance(each, IdFilter | NameFilter):
        prefix = each.extra["prefix"]
        assert prefix in kinds, f"no sample is known of {prefix}_…: add one to Neighbour"
        kind = kinds[prefix]
        return [them.ids[kind], *([them.names[kind]] if isinstance(each, NameFilter) and kind in them.names else [])]
    return sorted(them.texts)[number % 4 :: 4] if isinstance(each, TextFilter) else []


def test_filters__nothing_of_others__is_ever_listed() -> None:
    us, them = Neighbour(), Neighbour()
    for route in all_routes():
        operation = route.operations.get("GET")
        if not getattr(operation, "paged", False):
            continue
        path = route.filled(**{name: us.ids[kind] for name, kind in route.parameters})
        text = json.dumps(us.door.get(path, limit=200).json)
        assert us.ids.get(path.strip("/").split("/")[-1], "") in text or "jobs" in path, path
        assert not [theirs for theirs in them.texts if theirs in text], path


def test_cursors__of_another_workspace__are_refused() -> None:
    us, them = Neighbour(), Neighbour()
    them.door.made("/customers", {"external_id": "second"})
    cursor = them.door.get("/customers", limit=1)["next_cursor"]

    answer = us.door.get("/customers", cursor=cursor)

    assert (answer.status, answer.fields) == (422, {"cursor": "other_list"})


def references(us: Neighbour) -> dict[str, tuple[str, Callable[[str], tuple[str, str, dict[str, Any]]]]]:
    """Where a body names another thing: kind, and the request that names it so. Keys: operation and field."""
    ids = us.ids
    quota = {"meter": ids["meters"], "limit": 5, "period": "week"}
    price = {"currency": "USD", "model": "per_unit", "unit_price": "1"}
    spend = {"rule": "spend_per_hour", "limit": "5", "action": "notify"}
    plan = {"code": "fresh", "name": "Fresh", "product": ids["products"]}

    def post(path: str, **body: Any) -> tuple[str, str, dict[str, Any]]:
        return "POST", path, body

    def patch(path: str, **body: Any) -> tuple[str, str, dict[str, Any]]:
        return "PATCH", path, body

    own_plan, own_license = f"/plans/{ids['plans']}", f"/licenses/{ids['licenses']}"
    return {
        "create_feature product": (
            "products",
            lambda x: post("/features", product=x, code="fresh", name="Fresh", kind="switch"),
        ),
        "create_plan product": ("products", lambda x: post("/plans", **{**plan, "product": x})),
        "create_plan grants.feature": (
            "features",
            lambda x: post("/plans", **plan, grants=[{"feature": x, "value": True}]),
        ),
        "create_plan quotas.meter": ("meters", lambda x: post("/plans", **plan, quotas=[{**quota, "meter": x}])),
        "create_plan prices.meter": ("meters", lambda x: post("/plans", **plan, prices=[{**price, "meter": x}])),
        "create_plan runaway.meter": ("meters", lambda x: post("/plans", **plan, runaway=[{**spend, "meter": x}])),
        "update_plan runaway.meter": ("meters", lambda x: patch(own_plan, runaway=[{**spend, "meter": x}])),
        "update_plan product": ("products", lambda x: patch(own_plan, product=x)),
        "update_plan grants.feature": ("features", lambda x: patch(own_plan, grants=[{"feature": x, "value": True}])),
        "update_plan quotas.meter": ("meters", lambda x: patch(own_plan, quotas=[{**quota, "meter": x}])),
        "update_plan prices.meter": ("meters", lambda x: patch(own_plan, prices=[{**price, "meter": x}])),
        "transfer_license customer": ("customers", lambda x: post(f"{own_license}/transfer", customer=x)),
        "update_feature product": ("products", lambda x: patch(f"/features/{ids['features']}", product=x)),
        "issue_license customer": ("customers", lambda x: post("/licenses", customer=x, plan=ids["plans"])),
        "issue_license plan": ("plans", lambda x: post("/licenses", customer=ids["customers"], plan=x)),
        "issue_license add_ons": (
            "plans",
            lambda x: post("/licenses", customer=ids["customers"], plan=ids["plans"], add_ons=[x]),
        ),
        "issue_license grants.feature": (
            "features",
            lambda x: post(
                "/licenses", customer=ids["customers"], plan=ids["plans"], grants=[{"feature": x, "value": True}]
            ),
        ),
        "update_license customer": ("customers", lambda x: patch(own_license, customer=x)),
        "update_license plan": ("plans", lambda x: patch(own_license, plan=x)),
        "update_license add_ons": ("plans", lambda x: patch(own_license, add_ons=[x])),
        "update_license grants.feature": (
            "features",
            lambda x: patch(own_license, grants=[{"feature": x, "value": True}]),
        ),
        "create_agent runaway.meter": (
            "meters",
            lambda x: post("/agents", license=ids["licenses"], name="fresh", runaway=[{**spend, "meter": x}]),
        ),
        "update_agent runaway.meter": (
            "meters",
            lambda x: patch(f"/agents/{ids['agents']}", runaway=[{**spend, "meter": x}]),
        ),
        "create_agent license": ("licenses", lambda x: post("/agents", license=x, name="fresh")),
        "create_agent parent_id": (
            "agents",
            lambda x: post("/agents", license=ids["licenses"], name="fresh", parent_id=x),
        ),
        "update_agent license": ("licenses", lambda x: patch(f"/agents/{ids['agents']}", license=x)),
        "update_agent parent_id": ("agents", lambda x: patch(f"/agents/{ids['agents']}", parent_id=x)),
        "create_meter rate_card.meter": (
            "meters",
            lambda x: post("/meters", code="spend", unit="USD", rate_card=[{"meter": x, "unit_price": "1"}]),
        ),
        "update_meter rate_card.meter": (
            "meters",
            lambda x: patch(f"/meters/{ids['meters']}", rate_card=[{"meter": x, "unit_price": "1"}]),
        ),
        "create_quota meter": (
            "meters",
            lambda x: post("/quotas", **{**quota, "meter": x}, on={"license": ids["licenses"]}),
        ),
        "create_quota on": ("licenses", lambda x: post("/quotas", **quota, on={"license": x})),
        "create_quota on agent": ("agents", lambda x: post("/quotas", **quota, on={"agent": x})),
        "create_quota on customer": ("customers", lambda x: post("/quotas", **quota, on={"customer": x})),
        "create_quota on plan": ("plans", lambda x: post("/quotas", **quota, on={"plan": x})),
        "update_quota meter": ("meters", lambda x: patch(f"/quotas/{ids['quotas']}", meter=x)),
        "update_quota on": ("agents", lambda x: patch(f"/quotas/{ids['quotas']}", on={"agent": x})),
        "issue_statement customer": (
            "customers",
            lambda x: post("/statements", customer=x, period_start="2026-09-01T00:00:00Z"),
        ),
        "simulate_price customer": ("customers", lambda x: post("/prices/simulate", customer=x, price=price)),
        "simulate_price plan": ("plans", lambda x: post("/prices/simulate", plan=x, price=price)),
        "simulate_price license": ("licenses", lambda x: post("/prices/simulate", license=x, price=price)),
        "simulate_price price.meter": (
            "meters",
            lambda x: post("/prices/simulate", plan=ids["plans"], price={**price, "meter": x}),
        ),
        "create_top_up quota": ("quotas", lambda x: post("/top-ups", quota=x, amount="1")),
        "create_top_up on": ("agents", lambda x: post("/top-ups", quota=ids["quotas"], amount="1", on={"agent": x})),
        "update_top_up quota": ("quotas", lambda x: patch(f"/top-ups/{ids['top-ups']}", quota=x)),
        "update_top_up on": ("agents", lambda x: patch(f"/top-ups/{ids['top-ups']}", on={"agent": x})),
        "record_usage meter": (
            "meters",
            lambda x: post("/usage", id="fresh", meter=x, quantity=1, agent=ids["agents"]),
        ),
        "record_usage agent": (
            "agents",
            lambda x: post("/usage", id="fresh", meter=ids["meters"], quantity=1, agent=x),
        ),
        "record_usage license": (
            "licenses",
            lambda x: post("/usage", id="fresh", meter=ids["meters"], quantity=1, license=x),
        ),
        "record_usage events.agent": (
            "agents",
            lambda x: post("/usage", events=[{"id": "fresh", "meter": ids["meters"], "quantity": 1, "agent": x}]),
        ),
        "record_usage events.license": (
            "licenses",
            lambda x: post("/usage", events=[{"id": "fresh", "meter": ids["meters"], "quantity": 1, "license": x}]),
        ),
        "record_usage events.meter": (
            "meters",
            lambda x: post("/usage", agent=ids["agents"], events=[{"id": "fresh", "meter": x, "quantity": 1}]),
        ),
        "validate_license product": (
            "products",
            lambda x: post(f"/licenses/{ids['licenses']}/validate", product=x),
        ),
        "validate_license features": (
            "features",
            lambda x: post(f"/licenses/{ids['licenses']}/validate", features=[x]),
        ),
    }


def test_bodies__things_of_others__are_refused_like_made_up_ones() -> None:
    us, them = Neighbour(), Neighbour()
    before, ours = them.reading(), us.reading()
    for place, (kind, request) in references(us).items():
        for text in (them.ids[kind], them.names.get(kind)):
            if text is None:
                continue
            nobody = made_up(text)
            answers = []
            for value in (text, nobody):
                method, path, body = request(value)
                answers.append(us.door.call(method, path, body))
            assert seen(answers[0], text) == seen(answers[1], nobody), (place, answers)
            assert answers[0].status in {404, 422} or "validate" in place or "events." in place, (place, answers[0])
    assert them.reading() == before
    assert us.reading() == ours


def test_bodies__every_field_that_refers_to_something__is_in_the_table() -> None:
    known = {" ".join(place.split()[:2]) for place in references(Neighbour())}
    missing = {
        f"{operation.name} {field}"
        for route in all_routes()
        if route.door == "vendor"
        for operation in route.operations.values()
        if operation.body is not None
        for field in _referring(operation.body(), "")
    }
    assert missing - known == set()


def _referring(serializer: Any, prefix: str) -> Iterator[str]:
    for name, field in serializer.fields.items():
        inner = getattr(field, "child", field)
        if isinstance(inner, ReferenceField | CustomerReferenceField | OnField):
            yield prefix + name
        elif hasattr(inner, "fields"):
            yield from _referring(inner, f"{prefix}{name}.")


@pytest.mark.parametrize("kind", ["products", "features", "plans", "meters", "customers"])
def test_names__taken_by_others__are_free(kind: str) -> None:
    us, them = Neighbour(), Neighbour()
    name = them.names[kind]
    bodies = {
        "products": {"code": name, "name": "Ours"},
        "features": {"product": us.ids["products"], "code": name, "name": "Ours", "kind": "switch"},
        "plans": {"product": us.ids["products"], "code": name, "name": "Ours"},
        "meters": {"code": name, "name": "Ours"},
        "customers": {"external_id": name},
    }

    made = us.door.made(f"/{kind}", bodies[kind])

    assert made["id"] != them.ids[kind]
    assert us.door.get(f"/{kind}/{made['id']}").status == 200


def test_idempotency_keys__of_another_workspace__are_not_replayed() -> None:
    us, them = Door(), Door()
    body = {"external_id": "acme"}

    theirs = them.post("/customers", body, Idempotency_Key="the-same")
    ours = us.post("/customers", body, Idempotency_Key="the-same")

    assert theirs.status == ours.status == 201
    assert theirs["id"] != ours["id"]
    assert "Idempotency-Replayed" not in ours.headers


def test_agents_door__things_of_others__are_answered_like_made_up_ones() -> None:
    us, them = Neighbour(), Neighbour()
    usage = {"id": "step", "quantity": "1"}
    asks: list[tuple[str, Callable[[str], tuple[str, str, Any]]]] = [
        ("products", lambda x: ("POST", "/validate", {"product": x})),
        ("features", lambda x: ("POST", "/validate", {"features": [x]})),
        ("features", lambda x: ("POST", "/authorize", {"feature": x})),
        ("meters", lambda x: ("POST", "/authorize", {"id": "step", "usage": [{"meter": x, "quantity": "1"}]})),
        ("meters", lambda x: ("POST", "/usage", {**usage, "meter": x})),
        ("meters", lambda x: ("POST", "/usage", {"events": [{**usage, "meter": x}]})),
        ("meters", lambda x: ("GET", f"/usage?meter={x}&from=2026-01-01T00:00:00Z", None)),
    ]
    for kind, ask in asks:
        for text in (them.ids[kind], them.names[kind]):
            nobody = made_up(text)
            answers = [us.agents_door.call(*ask(value)) for value in (text, nobody)]
            assert seen(answers[0], text) == seen(answers[1], nobody), (kind, answers)


def test_agents_door__license_keys_of_others__are_unknown() -> None:
    us, them = Neighbour(), Neighbour()
    texts = [them.license_key, "00000-00000-00000-00000-00000", "nonsense"]

    answers = [us.agents_door.post("/validate", {"license_key": text}, key=us.publishable_key) for text in texts]

    assert {(answer.status, answer["code"]) for answer in answers} == {(404, "license_key_unknown")}
    assert len({seen(answer) for answer in answers}) == 1
    assert us.agents_door.post("/validate", {"license_key": us.license_key}, key=us.publishable_key)["valid"]


def test_agents_door__hold_of_another_agent_under_the_same_license__is_not_found() -> None:
    us = Neighbour()
    sibling = us.door.made("/agents", {"license": us.ids["licenses"], "name": "sibling"})["key"]
    for action, body in (("settle", {"usage": []}), ("release", {}), ("extend", {"ttl": 5})):
        answers = [
            us.agents_door.post(f"/holds/{hold}/{action}", body, key=sibling)
            for hold in (us.ids["holds"], made_up(us.ids["holds"]), "nonsense")
        ]
        assert {answer.status for answer in answers} == {404}
        assert len({seen(answer) for answer in answers}) == 1


def test_ids_of_events__of_another_license__are_free() -> None:
    us, them = Neighbour(), Neighbour()
    meter = us.names["meters"]
    [theirs] = [text for text in them.texts if text.startswith("event-")]

    answer = us.agents_door.post("/usage", {"id": theirs, "meter": meter, "quantity": "99"})

    assert (answer.status, answer["recorded"], answer["duplicates"]) == (200, 1, 0)
