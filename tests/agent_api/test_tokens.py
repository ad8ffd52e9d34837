"""`tokens` at the agents' door, and what the public addresses say of them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from joserfc import jwt as jose_jwt
from joserfc.jwk import KeySet

from common.clock import real_clock
from licenses.domain.jose import InvalidToken
from licenses.domain.license_tokens import verify_license_token
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
