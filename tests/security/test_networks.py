"""Keys that may be used from certain networks only, at both doors."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from agent_api.use_cases import known_callers
from licenses.models import AgentKey
from tenants.models import ApiKey, AuditEntry
from tests.agent_door import AgentDoor, Answer, Vendor
from tests.factories import issue, make_plan
from tests.vendor_api.door import Door

pytestmark = pytest.mark.django_db

INSIDE, OUTSIDE, INSIDE_6, OUTSIDE_6 = "192.0.2.7", "198.51.100.7", "2001:db8::7", "2001:db9::7"
NETWORKS = ["192.0.2.0/24", "2001:db8::/32"]


@pytest.fixture(autouse=True)
def _behind_a_proxy(settings: Settings) -> None:
    """The tests' own address is the proxy's, so that each call can come from elsewhere."""
    settings.PERMETER_TRUSTED_PROXIES = ["127.0.0.1/32"]
    known_callers.forget_all()


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def door(vendor: Vendor) -> Door:
    return Door(vendor.tenant)


def agent_call(key: str, address: str, path: str = "/validate", body: Any = None, **more: Any) -> Answer:
    return AgentDoor(key).post(path, body, headers={"X-Forwarded-For": address}, **more)


def test_agent_key__for_certain_networks__is_403_from_all_others(vendor: Vendor, door: Door) -> None:
    made = vendor.agent(vendor.license())
    key = door.made(f"/agents/{made.agent.public_id}/keys", {"networks": NETWORKS})["key"]

    for path in ("/validate", "/authorize", "/usage"):
        body = {"id": "e-1", "meter": "tokens", "quantity": 1} if path == "/usage" else {}
        assert {agent_call(key, each, path, body).status for each in (INSIDE, INSIDE_6, f"::ffff:{INSIDE}")} == {200}
        for address in (OUTSIDE, OUTSIDE_6, f"::ffff:{OUTSIDE}", "unknown"):
            for sent in ({"body": body}, {"raw": b"{"}):
                answer = agent_call(key, address, path, **sent)
                assert (answer.status, answer["code"]) == (403, "network_not_allowed")
    assert agent_call(made.key_text, OUTSIDE).status == 200


def test_agent_key__its_networks_change_while_it_is_known__hold_at_once(
    vendor: Vendor, door: Door, django_capture_on_commit_callbacks: Any
) -> None:
    made = vendor.agent(vendor.license())
    path = f"/agents/{made.agent.public_id}/keys/{made.key.public_id}"
    assert door.get(path)["networks"] == []
    assert agent_call(made.key_text, OUTSIDE).status == 200

    def change(networks: list[str]) -> Any:
        with django_capture_on_commit_callbacks(execute=True):
            return door.patch(path, {"networks": networks})

    assert change(["192.0.2.9/24", "192.0.2.0/24", "2001:DB8::/32"])["networks"] == NETWORKS
    assert agent_call(made.key_text, OUTSIDE)["code"] == "network_not_allowed"
    assert agent_call(made.key_text, INSIDE).status == 200
    assert change([f"{OUTSIDE}"])["networks"] == [f"{OUTSIDE}/32"]
    assert [agent_call(made.key_text, each).status for each in (OUTSIDE, INSIDE)] == [200, 403]
    assert change([])["networks"] == []
    assert agent_call(made.key_text, OUTSIDE_6).status == 200
    entries = AuditEntry.objects.filter(action="agent_key.updated").order_by("id")
    assert [entry.changes for entry in entries] == [
        {"networks": [[], NETWORKS]},
        {"networks": [NETWORKS, [f"{OUTSIDE}/32"]]},
        {"networks": [[f"{OUTSIDE}/32"], []]},
    ]


def test_agent_key__refused_for_its_network__costs_nothing_of_its_rate(vendor: Vendor, door: Door) -> None:
    made = vendor.agent(vendor.license(rate_limits=[{"level": "agent", "limit": 2, "window": 3600}]))
    key = door.made(f"/agents/{made.agent.public_id}/keys", {"networks": NETWORKS})["key"]

    refused = [agent_call(key, OUTSIDE) for _ in range(5)]

    assert {(answer.status, answer.headers["RateLimit"]) for answer in refused} == {(403, '"agent";r=2;t=0')}
    assert [agent_call(key, INSIDE).status for _ in range(3)] == [200, 200, 429]


def test_agent_key__revoked__cannot_be_changed(vendor: Vendor, door: Door) -> None:
    made = vendor.agent(vendor.license())
    path = f"/agents/{made.agent.public_id}/keys/{made.key.public_id}"
    assert door.post(f"{path}/revoke").status == 200

    assert (door.patch(path, {"networks": NETWORKS}).code, AgentKey.objects.get().networks) == ("key_revoked", [])


def test_publishable_key__for_certain_networks__is_403_from_all_others(vendor: Vendor, door: Door) -> None:
    license_key = issue(make_plan(vendor.product)).license_key
    key = door.made("/api-keys", {"name": "app", "kind": "publishable", "networks": NETWORKS})["key"]
    body = {"license_key": license_key}

    assert [agent_call(key, each, body=body).status for each in (INSIDE, INSIDE_6)] == [200, 200]
    sent: dict[str, Any]
    for sent in ({"body": body}, {"body": {}}, {"raw": b"{"}):
        answer = agent_call(key, OUTSIDE, **sent)
        assert (answer.status, answer["code"]) == (403, "network_not_allowed")


def test_secret_key__for_certain_networks__is_403_from_all_others(door: Door) -> None:
    made = door.made("/api-keys", {"name": "restricted", "scopes": ["licenses:read"], "networks": NETWORKS})
    key, path = made["key"], f"/api-keys/{made['id']}"
    assert made["networks"] == NETWORKS

    def call(address: str, method: str = "GET", path: str = "/licenses") -> Any:
        return door.call(method, path, key=key, X_Forwarded_For=address)

    assert [call(each).status for each in (INSIDE, INSIDE_6)] == [200, 200]
    # The network comes before the scope, the path and the method.
    for method, place in (("GET", "/licenses"), ("GET", "/customers"), ("GET", "/nowhere"), ("PUT", "/licenses")):
        assert (call(OUTSIDE, method, place).status, call(OUTSIDE, method, place).code) == (403, "network_not_allowed")
    assert door.patch(path, {"networks": [OUTSIDE]})["networks"] == [f"{OUTSIDE}/32"]
    assert [call(each).status for each in (INSIDE, OUTSIDE)] == [403, 200]
    assert ApiKey.objects.get(name="restricted").networks == [f"{OUTSIDE}/32"]


def test_key__address_that_only_the_client_claims__is_not_believed(
    vendor: Vendor, door: Door, settings: Settings
) -> None:
    settings.PERMETER_TRUSTED_PROXIES = []
    made = vendor.agent(vendor.license())
    key = door.made(f"/agents/{made.agent.public_id}/keys", {"networks": NETWORKS})["key"]

    assert agent_call(key, INSIDE).status == 403


@pytest.mark.parametrize(
    "networks",
    [
        ["192.0.2.0/33"],
        ["192.0.2"],
        ["2001:db8::/129"],
        ["fe80::1%eth0/64"],
        ["example.com"],
        [""],
        [5],
        "192.0.2.0/24",
        None,
        [f"10.0.0.{number % 256}" for number in range(101)],
    ],
)
def test_networks__malformed__are_422_and_change_nothing(vendor: Vendor, door: Door, networks: Any) -> None:
    made = vendor.agent(vendor.license())
    keys = f"/agents/{made.agent.public_id}/keys"
    requests = [
        ("POST", keys, {}),
        ("PATCH", f"{keys}/{made.key.public_id}", {}),
        ("POST", "/api-keys", {"name": "x"}),
        ("PATCH", f"/api-keys/{door.api_key.public_id}", {}),
    ]
    before = (AgentKey.objects.count(), ApiKey.objects.count())

    for method, path, body in requests:
        answer = door.call(method, path, {**body, "networks": networks})
        assert (answer.status, answer.code) == (422, "invalid"), answer
        assert all(field.split(".")[0] == "networks" for field in answer.fields)

    assert (AgentKey.objects.count(), ApiKey.objects.count()) == before
    assert AgentKey.objects.get().networks == []


def test_audit_entry__call_through_a_proxy__names_the_client(door: Door) -> None:
    answer = door.call("POST", "/customers", {"external_id": "acme"}, X_Forwarded_For=INSIDE_6)

    assert answer.status == 201
    assert AuditEntry.objects.get(action="customer.created").address == INSIDE_6
