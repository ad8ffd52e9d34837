"""`tokens` at the agents' door, and what the public addresses say of them."""

from __future__ import annotations

import json
import zlib
from base64 import urlsafe_b64decode
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from joserfc import jwt as jose_jwt
from joserfc.jwk import KeySet

from common.clock import real_clock
from common.ids import Prefix, decode_id
from licenses.domain.jose import InvalidToken, thumbprint
from licenses.domain.license_tokens import verify_license_token
from licenses.models import IssuedToken
from licenses.services.issuing import update_license
from licenses.services.license_states import suspend_license
from licenses.services.tokens import revoke_token
from tenants.models import AuditEntry
from tests.agent_door import AgentDoor, Vendor
from tests.factories import ACTOR

pytestmark = pytest.mark.django_db(transaction=True)


class Public:
    """What anybody can read of a workspace."""

    def __init__(self, vendor: Vendor) -> None:
        self.issuer = f"{settings.BASE_URL}/t/{vendor.tenant.slug}"
        self.root = f"/t/{vendor.tenant.slug}"
        self.client = Client()

    def jwks(self) -> dict[str, Any]:
        answer = self.client.get(f"{self.root}/.well-known/jwks.json")
        assert answer.status_code == 200
        found: dict[str, Any] = json.loads(answer.content)
        return found

    def status_list(self, uri: str) -> bytes:
        assert uri.startswith(self.issuer)
        answer = self.client.get(self.root + uri[len(self.issuer) :])
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/statuslist+jwt"
        return answer.content

    def verify(self, token: str, *, audience: str = "researcher", **more: Any) -> Any:
        keys = self.jwks()
        at = more.pop("at", None) or real_clock().now()
        first = verify_license_token(token, keys, at=at, audience=audience, issuer=self.issuer, **more)
        assert first.status_uri is not None
        statuses = self.status_list(first.status_uri)
        return verify_license_token(
            token, keys, at=at, audience=audience, issuer=self.issuer, status_list=statuses, **more
        )


def test_tokens__plain__is_verified_here_and_by_another_library() -> None:
    vendor = Vendor()
    license = vendor.license({"limit": "1000"})
    parent = vendor.agent(license)
    child = vendor.agent(license, parent.agent)
    answer = AgentDoor(child.key_text).post("/tokens", {"ttl": 60})
    assert answer.status == 201
    public = Public(vendor)

    verified = public.verify(answer["token"])

    assert verified.license_id == license.public_id
    assert verified.subject == child.agent.public_id
    assert verified.actors == [child.agent.public_id, parent.agent.public_id]
    assert verified.token_id == answer["token_id"]
    assert verified.features == {"web_search": True, "max_tools": 20, "models": ["large", "small"]}
    assert verified.claims["exp"] - verified.claims["iat"] in {59, 60}
    judged = jose_jwt.decode(answer["token"], KeySet.import_key_set(public.jwks()), algorithms=["EdDSA"])
    assert judged.header["typ"] == "license+jwt"
    assert judged.claims == verified.claims


def test_status_list__agent_revoked__says_so_when_revoke_returns() -> None:
    from licenses.services.agents import revoke_agent

    vendor = Vendor()
    made = vendor.agent(vendor.license())
    answer = AgentDoor(made.key_text).post("/tokens")
    public = Public(vendor)
    assert public.verify(answer["token"]).status_age < timedelta(seconds=61)

    revoke_agent(tenant=vendor.tenant, agent_id=made.agent.id, actor=ACTOR)

    with pytest.raises(InvalidToken) as refused:
        public.verify(answer["token"])
    assert refused.value.code == "license_revoked"


def refused_before_signing(vendor: Vendor) -> None:
    assert not IssuedToken.objects.for_tenant(vendor.tenant).exists()


@pytest.mark.parametrize(
    ("terms", "asked", "seconds"),
    [
        ({}, {}, 3600),
        ({"token_ttl": 120}, {}, 120),
        ({"token_ttl": 120}, {"ttl": 121}, 120),
        ({"token_ttl": 120}, {"ttl": 119}, 119),
        ({}, {"ttl": 10**9}, 3600),
    ],
)
def test_tokens__ttl__is_cut_to_the_plans(terms: dict[str, Any], asked: dict[str, Any], seconds: int) -> None:
    vendor = Vendor()
    before = real_clock().now()

    answer = vendor.door(**terms).post("/tokens", asked)

    after = real_clock().now()
    life = timedelta(seconds=seconds)
    assert (before + life).replace(microsecond=0) <= datetime.fromisoformat(answer["expires_at"]) <= after + life


def test_tokens__licence_agent_or_parent_ends_sooner__so_does_the_token() -> None:
    vendor = Vendor()
    soon = (real_clock().now() + timedelta(minutes=10)).replace(microsecond=0)
    later = soon + timedelta(minutes=5)
    ending, lasting = vendor.license(expires_at=soon, grace_days=7), vendor.license()
    mortal = vendor.agent(lasting, expires_at=soon)
    child = vendor.agent(lasting, mortal.agent)
    doors = [vendor.agent(ending), vendor.agent(ending, expires_at=later), mortal, child]

    ends = {AgentDoor(made.key_text).post("/tokens")["expires_at"] for made in doors}

    # To the second: an end between two ticks is cut down.
    assert {(soon - datetime.fromisoformat(end)).total_seconds() for end in ends} <= {0.0, 1.0}


def test_tokens__in_a_test_workspace_ahead_of_time__live_on_real_time() -> None:
    from tenants.services.workspaces import move_clock
    from tests.factories import make_test_workspace

    tenant = make_test_workspace()
    move_clock(tenant_id=tenant.id, actor=ACTOR, by=timedelta(days=40))
    tenant.refresh_from_db()
    vendor = Vendor(tenant)

    answer = vendor.door(expires_at=real_clock().now() + timedelta(days=40, seconds=600)).post("/tokens")

    left = datetime.fromisoformat(answer["expires_at"]) - real_clock().now()
    assert timedelta(seconds=540) < left <= timedelta(seconds=600)
    assert Public(vendor).verify(answer["token"]).license_id


def test_tokens__opaque_licence__is_403() -> None:
    vendor = Vendor()
    license = vendor.license()
    agent = vendor.agent(license)
    update_license(tenant=vendor.tenant, license_id=license.id, actor=ACTOR, kind="opaque")

    answer = AgentDoor(agent.key_text).post("/tokens")

    assert (answer.status, answer["code"]) == (403, "license_not_signed")
    refused_before_signing(vendor)


def test_tokens__licence_that_does_not_hold__is_403_with_its_reason() -> None:
    vendor = Vendor()
    license = vendor.license()
    agent = vendor.agent(license)
    suspend_license(tenant=vendor.tenant, license_id=license.id, actor=ACTOR)

    answer = AgentDoor(agent.key_text).post("/tokens", {"lease": [{"meter": "tokens", "quantity": "5"}]})

    assert (answer.status, answer["code"]) == (403, "license_suspended")
    refused_before_signing(vendor)


def test_tokens__publishable_key__is_403() -> None:
    vendor = Vendor()

    answer = AgentDoor(vendor.publishable_key()).post("/tokens")

    assert (answer.status, answer["code"]) == (403, "wrong_key_kind")


ED25519 = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
P256 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "I3HWm_0Ds1dPMI-IWmf4mBmH-YaeAVbPVu7vB27CxXo",
    "y": "6N_d5Elj9bs1htgV3okJKIdbHEpkgTmAluYKJemzn1M",
}


@pytest.mark.parametrize(
    ("jwk", "code"),
    [
        ({}, "jwk_malformed"),
        ({"kty": "OKP"}, "jwk_malformed"),
        ({"kty": ["OKP"]}, "jwk_malformed"),
        ({**ED25519, "crv": "X25519"}, "jwk_malformed"),
        ({**ED25519, "x": "AAAA"}, "jwk_malformed"),
        ({**ED25519, "x": "not base64!"}, "jwk_malformed"),
        ({**ED25519, "x": 5}, "jwk_malformed"),
        ({**P256, "y": P256["x"]}, "jwk_malformed"),
        ({**P256, "crv": "secp256k1"}, "jwk_malformed"),
        ({"kty": "RSA", "n": "AQAB", "e": "AQAB"}, "jwk_malformed"),
        ({**ED25519, "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}, "jwk_not_public"),
        ({**P256, "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}, "jwk_not_public"),
        ({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ"}, "jwk_not_public"),
    ],
)
def test_tokens__key_that_is_none__is_422(jwk: dict[str, Any], code: str) -> None:
    vendor = Vendor()

    answer = vendor.door().post("/tokens", {"public_key": jwk})

    assert (answer.status, answer["errors"][0]["field"], answer["errors"][0]["code"]) == (422, "public_key", code)
    refused_before_signing(vendor)


@pytest.mark.parametrize("jwk", [ED25519, P256])
def test_tokens__holders_key__is_bound_without_what_is_not_the_key(jwk: dict[str, Any]) -> None:
    vendor = Vendor()

    answer = vendor.door().post("/tokens", {"public_key": {**jwk, "kid": "mine", "x5u": "https://stranger.example"}})

    assert Public(vendor).verify(answer["token"]).confirmation == {"jwk": jwk}


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"ttl": 0}, "ttl", "invalid"),
        ({"ttl": "60"}, "ttl", None),
        ({"audience": ""}, "audience", None),
        ({"audience": "x" * 201}, "audience", None),
        ({"audience": "a\u0000b"}, "audience", None),
        ({"fingerprint": "x" * 257}, "fingerprint", None),
        ({"lease": [{"meter": "nothing", "quantity": "1"}]}, "lease.0.meter", "unknown_meter"),
        ({"lease": [{"meter": "tokens", "quantity": "-1"}]}, "lease.0.quantity", "quantity_negative"),
        ({"colour": "red"}, "colour", "unknown_field"),
        ({"public_key": "key"}, "public_key", None),
    ],
)
def test_tokens__bad_fields__are_422(body: dict[str, Any], field: str, code: str | None) -> None:
    vendor = Vendor()

    answer = vendor.door().post("/tokens", body)

    assert answer.status == 422
    assert answer["errors"][0]["field"] == field
    assert code is None or answer["errors"][0]["code"] == code
    refused_before_signing(vendor)


def test_tokens__audience_and_fingerprint__are_those_asked_for() -> None:
    vendor = Vendor()

    answer = vendor.door().post("/tokens", {"audience": "gateway", "fingerprint": "host-7"})

    public = Public(vendor)
    assert public.verify(answer["token"], audience="gateway", fingerprint="host-7").claims["fingerprint"] == "host-7"
    with pytest.raises(InvalidToken):
        public.verify(answer["token"], fingerprint="host-7")


def test_tokens__lease__reserves_what_the_token_carries() -> None:
    vendor = Vendor()
    door = vendor.door({"limit": "1000"})

    answer = door.post("/tokens", {"lease": [{"meter": "tokens", "quantity": "400", "dimensions": {"model": "large"}}]})

    verified = Public(vendor).verify(answer["token"])
    assert verified.claims["lease"] == {
        "hold_id": answer["hold_id"],
        "usage": [{"meter": "tokens", "quantity": "400", "dimensions": {"model": "large"}}],
    }
    [quota] = door.get("/quotas")["data"]
    assert (quota["held"], quota["remaining"]) == ("400", "600")
    [hold] = door.get("/holds")["data"]
    ends = datetime.fromisoformat(hold["expires_at"]) - datetime.fromisoformat(answer["expires_at"])
    assert (hold["id"], timedelta(0) <= ends < timedelta(seconds=2)) == (answer["hold_id"], True)


def test_tokens__lease_settled_for_good__ends_the_token_a_part_does_not() -> None:
    vendor = Vendor()
    door = vendor.door({"limit": "1000"})
    answer = door.post("/tokens", {"lease": [{"meter": "tokens", "quantity": "400"}]})
    token = IssuedToken.objects.get()

    part = {"usage": [{"meter": "tokens", "quantity": "100"}], "id": "part-1", "final": False}
    assert door.post(f"/holds/{answer['hold_id']}/settle", part).status == 200
    token.refresh_from_db()
    assert token.revoked_at is None

    rest = {"usage": [{"meter": "tokens", "quantity": "50"}]}
    assert [door.post(f"/holds/{answer['hold_id']}/settle", rest).status for _ in range(2)] == [200, 200]
    token.refresh_from_db()
    assert token.revoked_at is not None
    assert AuditEntry.objects.filter(action="token.revoked").count() == 1
    [quota] = door.get("/quotas")["data"]
    assert (quota["used"], quota["held"]) == ("150", "0")


def test_tokens__lease_without_room__is_403_and_nothing_is_set_aside() -> None:
    vendor = Vendor()
    door = vendor.door({"limit": "1000"})
    assert door.post("/tokens", {"lease": [{"meter": "tokens", "quantity": "1000"}]}).status == 201

    answer = door.post("/tokens", {"lease": [{"meter": "calls"}, {"meter": "tokens", "quantity": "1"}]})

    assert (answer.status, answer["code"], answer["meter"], answer["remaining"]) == (
        403,
        "quota_exceeded",
        "tokens",
        "0",
    )
    assert [reason["code"] for reason in answer["codes"]] == ["quota_exceeded"]
    assert len(door.get("/holds")["data"]) == 1
    assert IssuedToken.objects.for_tenant(vendor.tenant).count() == 1


def test_tokens__same_idempotency_key__is_the_same_token_and_lease() -> None:
    vendor = Vendor()
    door = vendor.door({"limit": "1000"})
    body = {"lease": [{"meter": "tokens", "quantity": "400"}]}

    first, second = (door.post("/tokens", body, headers={"Idempotency-Key": '"k-1"'}) for _ in range(2))
    other = door.post("/tokens", {}, headers={"Idempotency-Key": "k-1"})

    assert (first.status, second.status, first.json) == (201, 201, second.json)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert (other.status, other["code"]) == (422, "idempotency_key_reused")
    assert IssuedToken.objects.for_tenant(vendor.tenant).count() == 1
    assert door.get("/quotas")["data"][0]["held"] == "400"


def test_tokens__same_idempotency_key_after_a_refusal__is_refused_again_though_there_is_room() -> None:
    vendor = Vendor()
    door = vendor.door({"limit": "100"})
    big, key = {"lease": [{"meter": "tokens", "quantity": "90"}]}, {"Idempotency-Key": "k-1"}
    hold = door.post("/tokens", big)["hold_id"]

    refused = door.post("/tokens", big, headers=key)
    door.post(f"/holds/{hold}/release")
    again = door.post("/tokens", big, headers=key)

    assert (refused.status, refused["code"]) == (403, "quota_exceeded")
    assert (again.status, again["code"], again["remaining"]) == (403, "quota_exceeded", "10")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in refused.headers
    assert door.get("/quotas")["data"][0]["held"] == "0"
    assert door.post("/tokens", big).status == 201


# --- what anybody may read --------------------------------------------------------------------------------------------


def test_public__unknown_workspace_or_list__is_404() -> None:
    vendor = Vendor()
    vendor.door().post("/tokens")
    root = f"/t/{vendor.tenant.slug}"
    paths = ["/t/nobody/.well-known/jwks.json", "/t/nobody/status-lists/1", "/t/%00/status-lists/1"]
    paths += [f"/t/{vendor.tenant.slug}%00/.well-known/jwks.json"]
    paths += [f"{root}/status-lists/{number}" for number in ("0", "2", "-1", "1.0", "one", "٣", "9" * 30)]

    answers = [Client().get(path) for path in paths]

    assert {answer.status_code for answer in answers} == {404}
    assert {json.loads(answer.content)["code"] for answer in answers} == {"not_found"}


def test_public__workspace_that_signed_nothing__has_an_empty_key_set_and_no_list() -> None:
    vendor = Vendor()
    public = Public(vendor)

    assert public.jwks() == {"keys": []}
    assert Client().get(f"{public.root}/status-lists/1").status_code == 404


@pytest.mark.parametrize("path", [".well-known/jwks.json", "status-lists/1"])
def test_public__read_again__is_304_from_any_origin(path: str) -> None:
    vendor = Vendor()
    vendor.door().post("/tokens")
    address = f"/t/{vendor.tenant.slug}/{path}"

    first = Client().get(address, headers={"Origin": "https://app.example", "Accept": "*/*"})
    second = Client().get(address, headers={"If-None-Match": first.headers["ETag"]})
    changed = Client().get(address, headers={"If-None-Match": '"another"'})
    posted = Client(enforce_csrf_checks=True).post(address)

    assert first.headers["Access-Control-Allow-Origin"] == "*"
    assert first.headers["Cache-Control"].startswith("public, ")
    # A list says of which minute it is; one that has just begun is another one.
    assert second.status_code == 304 or second.headers["ETag"] != first.headers["ETag"]
    assert changed.status_code == 200
    assert (posted.status_code, posted.headers["Allow"]) == (405, "GET, HEAD")


def test_public__key_set__holds_no_private_member() -> None:
    vendor = Vendor()
    vendor.door().post("/tokens")

    [key] = Public(vendor).jwks()["keys"]

    assert sorted(key) == ["alg", "crv", "kid", "kty", "use", "x"]
    assert key["kid"] == thumbprint(key)


def test_status_list__decoded_by_another_library__is_as_the_draft_demands() -> None:
    vendor = Vendor()
    answer = vendor.door().post("/tokens")
    public = Public(vendor)
    reference = jose_jwt.decode(answer["token"], KeySet.import_key_set(public.jwks()), algorithms=["EdDSA"]).claims[
        "status"
    ]["status_list"]
    revoke_token(tenant=vendor.tenant, token_id=decode_id(Prefix.TOKEN, answer["token_id"]), actor=ACTOR)

    judged = jose_jwt.decode(
        public.status_list(reference["uri"]).decode(), KeySet.import_key_set(public.jwks()), algorithms=["EdDSA"]
    )

    assert judged.header["typ"] == "statuslist+jwt"
    assert judged.claims["sub"] == reference["uri"]
    assert judged.claims["exp"] > judged.claims["iat"] > 0
    assert judged.claims["ttl"] == 300
    assert judged.claims["status_list"]["bits"] == 2
    lst = judged.claims["status_list"]["lst"]
    digits = int.from_bytes(zlib.decompress(urlsafe_b64decode(lst + "=" * (-len(lst) % 4))), "little")
    assert digits == 1 << (2 * reference["idx"])
