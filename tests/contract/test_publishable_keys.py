"""What software in strangers' hands may do with a publishable key: validate and activate, from browsers too."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from tests import factories
from tests.agent_door import AgentDoor, Answer, Vendor
from tests.security.routes import all_routes

pytestmark = pytest.mark.django_db

ALLOWED = {
    ("POST", "/validate"),
    ("POST", "/activations"),
    ("POST", "/activations/{activation}/heartbeat"),
    ("DELETE", "/activations/{activation}"),
}
ORIGIN = "https://app.example.com"
UNKNOWN = "00000-00000-00000-00000-00000"


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


def routes() -> list[tuple[str, str]]:
    return [(method, route.path) for route in all_routes() if route.door == "agent" for method in route.operations]


def test_publishable_key__every_other_route__is_403_wrong_key_kind(vendor: Vendor) -> None:
    issued = factories.issue(factories.make_plan(vendor.product))
    door = AgentDoor(vendor.publishable_key())
    found: dict[tuple[str, str], tuple[int, Any]] = {}
    for method, path in routes():
        texts = {"activation": "act_01h455vb4pex5vsknk084sn02q"}
        filled = path
        for name in ("activation", "hold", "agent"):
            filled = filled.replace(f"{{{name}}}", texts.get(name, f"{name[:3]}_01h455vb4pex5vsknk084sn02q"))
        answer = door.call(method, filled, headers={"X-License-Key": str(issued.license_key)})
        found[method, path] = (answer.status, answer["code"])
    refused = {route for route, answer in found.items() if answer == (403, "wrong_key_kind")}
    assert set(found) - refused == ALLOWED


def validate(door: AgentDoor, license_key: str, address: str = "192.0.2.1") -> Answer:
    from agent_api.use_cases.callers import Credentials
    from agent_api.use_cases.validating import ValidateCommand, validate_many
    from agent_api.wire.requests import ValidateRequest
    from common.errors import Problem

    credentials = Credentials(door.key, license_key, address)
    [answer] = validate_many([ValidateCommand(credentials, ValidateRequest())])
    if isinstance(answer, Problem):
        return Answer(answer.status, answer.headers, {"code": answer.code})
    return Answer(200, answer.fields, {"code": answer.body.code})


def test_guessing__is_slowed_down_by_address__a_right_key_from_elsewhere_is_not_hindered(vendor: Vendor) -> None:
    issued = factories.issue(factories.make_plan(vendor.product))
    door = AgentDoor(vendor.publishable_key())
    wrong = [validate(door, UNKNOWN) for _ in range(12)]
    assert [(answer.status, answer["code"]) for answer in wrong] == [(404, "license_key_unknown")] * 10 + [
        (429, "too_many_unknown_keys")
    ] * 2
    assert 1 <= int(wrong[-1].headers["Retry-After"]) <= 6
    right = str(issued.license_key)
    assert validate(door, right)["code"] == "too_many_unknown_keys"
    assert validate(door, right, "192.0.2.2")["code"] == "valid"
    # A right key that this process knows already tells a guesser nothing either.
    assert validate(door, right)["code"] == "too_many_unknown_keys"


def test_guessing__over_http__at_every_route_that_takes_a_licence_key(vendor: Vendor) -> None:
    door = AgentDoor(vendor.publishable_key())
    path = "/activations/act_01h455vb4pex5vsknk084sn02q"
    field = {"X-License-Key": UNKNOWN}
    for _ in range(10):
        assert door.call("DELETE", path, headers=field)["code"] == "license_key_unknown"
    refused = [
        door.call("DELETE", path, headers=field),
        door.post(f"{path}/heartbeat", headers=field),
        door.post("/activations", {"fingerprint": "a", "license_key": UNKNOWN}),
        door.post("/validate", {"license_key": UNKNOWN}),
    ]
    assert {(answer.status, answer["code"]) for answer in refused} == {(429, "too_many_unknown_keys")}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/validate", "POST"),
        ("/activations", "POST"),
        ("/activations/act_01h455vb4pex5vsknk084sn02q/heartbeat", "POST"),
        ("/activations/act_01h455vb4pex5vsknk084sn02q", "DELETE"),
    ],
)
def test_browsers__may_ask_beforehand_and_read_the_answer(vendor: Vendor, path: str, method: str) -> None:
    client = Client()
    headers = "authorization,content-type,x-license-key,idempotency-key"
    asked = client.options(
        f"/agent/v1{path}",
        headers={
            "Origin": ORIGIN,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": headers,
        },
    )
    assert asked.status_code == 200
    assert asked.headers["Access-Control-Allow-Origin"] == "*"
    assert method in asked.headers["Access-Control-Allow-Methods"]
    allowed = asked.headers["Access-Control-Allow-Headers"].replace(" ", "").split(",")
    assert set(headers.split(",")) <= set(allowed)
    assert "Access-Control-Allow-Credentials" not in asked.headers
    answer = client.generic(
        method,
        f"/agent/v1{path}",
        json.dumps({"license_key": UNKNOWN} | ({"fingerprint": "b"} if path == "/activations" else {})),
        content_type="application/json",
        headers={"Origin": ORIGIN, "Authorization": f"Bearer {vendor.publishable_key()}"},
    )
    assert (answer.status_code, answer.json()["code"]) == (404, "license_key_unknown")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]


def test_browsers__at_the_vendors_door__are_not_let_in(vendor: Vendor) -> None:
    answer = Client().get("/vendor/v1/licenses", headers={"Origin": ORIGIN})
    assert "Access-Control-Allow-Origin" not in answer.headers
