"""Signing keys, tokens and licence files at the vendors' door."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from common.clock import real_clock
from licenses.domain.jose import InvalidToken
from licenses.domain.license_tokens import verify_license_token
from metering.models import Hold
from tenants.models import OutboxEvent
from tests.agent_api.test_tokens import Public
from tests.agent_door import AgentDoor, Vendor
from tests.vendor_api.door import Door

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def backend(vendor: Vendor) -> Door:
    return Door(vendor.tenant)


def agent_of(vendor: Vendor) -> AgentDoor:
    return AgentDoor(vendor.agent(vendor.license({"limit": "1000"})).key_text)


def issued(agent: AgentDoor, **body: Any) -> Any:
    answer = agent.post("/tokens", body)
    assert answer.status == 201, answer
    return answer


def code_of(public: Public, token: str, **more: Any) -> str:
    with pytest.raises(InvalidToken) as refused:
        public.verify(token, **more)
    return refused.value.code


def events(vendor: Vendor, prefix: str) -> list[tuple[str, Any]]:
    found = OutboxEvent.objects.for_tenant(vendor.tenant).filter(type__startswith=prefix).order_by("id")
    return [(event.type, event.data) for event in found]


def test_rotate__token_of_the_old_key__verifies_until_it_dies(vendor: Vendor, backend: Door) -> None:
    agent, public = agent_of(vendor), Public(vendor)
    before = issued(agent)
    [old] = backend.call("GET", "/signing-keys")["data"]

    new = backend.call("POST", "/signing-keys/rotate", {"reason": "quarterly"})

    assert new.status == 200
    assert new["status"] == "active"
    assert new["kid"] != old["kid"]
    assert [key["kid"] for key in public.jwks()["keys"]] == [new["kid"], old["kid"]]
    public.verify(before["token"])
    public.verify(issued(agent)["token"])
    retired = backend.call("GET", f"/signing-keys/{old['id']}")
    assert retired["status"] == "retired"
    assert retired["published_until"] == before["expires_at"]
    assert events(vendor, "signing_key.") == [
        (
            "signing_key.rotated",
            {
                "signing_key": new["id"],
                "kid": new["kid"],
                "previous": old["id"],
                "compromised": False,
                "reason": "quarterly",
            },
        )
    ]


def test_rotate__compromised__key_leaves_at_once_and_its_tokens_are_revoked(vendor: Vendor, backend: Door) -> None:
    agent, public = agent_of(vendor), Public(vendor)
    before = issued(agent, lease=[{"meter": "tokens", "quantity": "400"}])
    keys = public.jwks()

    new = backend.call("POST", "/signing-keys/rotate", {"compromised": True})

    assert [key["kid"] for key in public.jwks()["keys"]] == [new["kid"]]
    assert code_of(public, before["token"]) == "unknown_key"
    claims = json.loads(__import__("base64").urlsafe_b64decode(before["token"].split(".")[1] + "=="))
    merged = {"keys": keys["keys"] + public.jwks()["keys"]}
    with pytest.raises(InvalidToken) as refused:
        verify_license_token(
            before["token"],
            merged,
            at=real_clock().now(),
            audience="researcher",
            issuer=public.issuer,
            status_list=public.status_list(claims["status"]["status_list"]["uri"]),
        )
    assert refused.value.code == "license_revoked"
    assert Hold.objects.get().status == "released"
    public.verify(issued(agent)["token"])


def test_revoke_signing_key__retired_one__its_tokens_only(vendor: Vendor, backend: Door) -> None:
    agent, public = agent_of(vendor), Public(vendor)
    old = issued(agent)
    [old_key] = backend.call("GET", "/signing-keys")["data"]
    backend.call("POST", "/signing-keys/rotate", {})
    new = issued(agent)

    for _ in range(2):
        answer = backend.call("POST", f"/signing-keys/{old_key['id']}/revoke", {})
        assert (answer.status, answer["status"]) == (200, "compromised")

    assert code_of(public, old["token"]) == "unknown_key"
    public.verify(new["token"])
    assert [type for type, _ in events(vendor, "signing_key.")] == ["signing_key.rotated", "signing_key.revoked"]


def test_revoke_token__listed_and_revoked__status_list_says_so_and_lease_is_given_back(
    vendor: Vendor, backend: Door
) -> None:
    agent, public = agent_of(vendor), Public(vendor)
    kept, lost = issued(agent), issued(agent, lease=[{"meter": "tokens", "quantity": "1000"}])
    assert agent.get("/quotas")["data"][0]["held"] == "1000"
    assert [row["id"] for row in backend.call("GET", "/tokens")["data"]] == [lost["token_id"], kept["token_id"]]

    answers = [backend.call("POST", f"/tokens/{lost['token_id']}/revoke", {"reason": "lost"}) for _ in range(2)]

    assert [(answer.status, answer["status"]) for answer in answers] == [(200, "revoked")] * 2
    assert code_of(public, lost["token"]) == "license_revoked"
    public.verify(kept["token"])
    assert agent.get("/quotas")["data"][0]["held"] == "0"
    found = backend.call("GET", "/tokens", query={"status": "revoked"})["data"]
    assert [row["id"] for row in found] == [lost["token_id"]]
    assert backend.call("GET", "/tokens", query={"license": found[0]["license"]})["data"][0]["id"] == lost["token_id"]
    trail = backend.call("GET", "/audit-entries", query={"action": "token.revoked"})["data"]
    assert [(entry["target"]["id"], entry["reason"]) for entry in trail] == [(lost["token_id"], "lost")]


def test_release__lease_of_a_token__revokes_the_token(vendor: Vendor) -> None:
    agent, public = agent_of(vendor), Public(vendor)
    token = issued(agent, lease=[{"meter": "tokens", "quantity": "300"}])
    public.verify(token["token"])

    released = agent.post(f"/holds/{token['hold_id']}/release")

    assert released["hold"]["status"] == "released"
    assert code_of(public, token["token"]) == "license_revoked"


@pytest.mark.parametrize(
    ("suspend", "reinstate"), [("customers", "customers"), ("licenses", "licenses"), ("agents", "agents")]
)
def test_status_list__suspended_and_back__follows_at_once(
    vendor: Vendor, backend: Door, suspend: str, reinstate: str
) -> None:
    agent, public = agent_of(vendor), Public(vendor)
    token = issued(agent)
    me = agent.get("/self")
    id = {"customers": me["customer"]["id"], "licenses": me["license"]["id"], "agents": me["agent"]["id"]}[suspend]

    assert backend.call("POST", f"/{suspend}/{id}/suspend", {}).status == 200
    assert code_of(public, token["token"]) == "license_suspended"
    back = "resume" if suspend == "agents" else "reinstate"
    assert backend.call("POST", f"/{reinstate}/{id}/{back}", {}).status == 200
    public.verify(token["token"])


def test_status_list__workspace_suspended__all_are_suspended(vendor: Vendor) -> None:
    from tenants.services.workspaces import reinstate_tenant, suspend_tenant
    from tests.factories import ACTOR

    agent, public = agent_of(vendor), Public(vendor)
    token = issued(agent)

    suspend_tenant(tenant_id=vendor.tenant.id, actor=ACTOR)
    assert code_of(public, token["token"]) == "license_suspended"
    reinstate_tenant(tenant_id=vendor.tenant.id, actor=ACTOR)
    public.verify(token["token"])


def test_file__bound_to_a_fingerprint__holds_on_that_machine_only(vendor: Vendor, backend: Door) -> None:
    license, public = vendor.license(), Public(vendor)

    answer = backend.call("POST", f"/licenses/{license.public_id}/file", {"fingerprint": "host-7"})

    assert answer.status == 201
    content = json.loads(answer["file"])
    assert content["token"] == answer["token"]
    more = {"audience": content["audience"], "issuer": content["issuer"], "at": real_clock().now()}
    held = verify_license_token(content["token"], content["jwks"], fingerprint="host-7", **more)
    assert held.license_id == held.subject == license.public_id
    assert held.expires_at - held.issued_at in {timedelta(days=365), timedelta(days=365, seconds=-1)}
    for other in ("host-8", None):
        with pytest.raises(InvalidToken) as refused:
            verify_license_token(content["token"], content["jwks"], fingerprint=other, **more)
        assert refused.value.code == "fingerprint_mismatch"
    [listed] = backend.call("GET", "/tokens", query={"offline_file": "true"})["data"]
    assert (listed["id"], listed["agent"]) == (answer["token_id"], None)
    assert backend.call("POST", f"/tokens/{listed['id']}/revoke", {}).status == 200
    assert code_of(public, content["token"], fingerprint="host-7") == "license_revoked"


def test_file__asked_wrongly__is_refused_and_nothing_is_signed(vendor: Vendor, backend: Door) -> None:
    license, opaque = vendor.license(), vendor.license()
    backend.call("PATCH", f"/licenses/{opaque.public_id}", {"kind": "opaque"})
    path = f"/licenses/{license.public_id}/file"

    past = backend.call("POST", path, {"expires_at": "2020-01-01T00:00:00Z"})
    long = backend.call("POST", path, {"fingerprint": "x" * 257})
    unsigned = backend.call("POST", f"/licenses/{opaque.public_id}/file", {})
    backend.call("POST", f"/licenses/{license.public_id}/suspend", {})
    suspended = backend.call("POST", path, {})

    assert (past.status, past.fields) == (422, {"expires_at": "in_the_past"})
    assert (long.status, long.fields) == (422, {"fingerprint": "too_long"})
    assert (unsigned.status, unsigned.code) == (409, "license_not_signed")
    assert (suspended.status, suspended.code) == (409, "license_suspended")
    assert backend.call("GET", "/tokens")["data"] == []


def test_file__beyond_the_licence__ends_with_it(vendor: Vendor, backend: Door) -> None:
    ends = real_clock().now() + timedelta(days=30)
    license = vendor.license(expires_at=ends)

    answer = backend.call(
        "POST", f"/licenses/{license.public_id}/file", {"expires_at": (ends + timedelta(days=9)).isoformat()}
    )

    assert answer["expires_at"] == ends.replace(microsecond=0).isoformat().replace("+00:00", "Z")
