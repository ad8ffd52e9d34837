"""Every route, found by walking the URL map: who is let in, and that what is another's looks like nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.urls import URLPattern

from common.clock import real_clock
from tenants.domain.scopes import GRANTABLE
from tenants.models import ApiKey
from tenants.services.api_keys import revoke_api_key
from tenants.services.workspaces import suspend_tenant
from tests.factories import ACTOR, make_api_key
from tests.vendor_api.door import Answer, Door, document
from tests.vendor_api.shop import Shop
from vendor_api.access.urls import urlpatterns as access_urlpatterns
from vendor_api.operations import Operation
from vendor_api.urls import urlpatterns

NOWHERE = "00000000000000000000000000"
SAME_404 = (404, "about:blank", "Not Found", "There is no such thing here.", "not_found")


def routes() -> Iterator[tuple[str, str, Operation]]:
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        path = "/" + re.sub(r"<str:(\w+)>", r"{\1}", str(pattern.pattern))
        for method, operation in pattern.callback.view_class.operations.items():
            yield method, path, operation


ROUTES = list(routes())
#: Bodies of routes that demand something.
DEMANDED = {
    "/licenses/{id}/transfer": {"customer": "acme"},
    "/agents/{id}/throttle": {"limit": None},
    "/licenses/{id}/agents/throttle": {"limit": None},
    "/customers/{id}/agents/throttle": {"limit": None},
}
NAMES = [f"{method} {path}" for method, path, _ in ROUTES]


def filled(path: str, text: str = f"lic_{NOWHERE}") -> str:
    return re.sub(r"\{\w+\}", text, path)


def told(answer: Answer) -> tuple[str, ...]:
    """All that an answer says of why."""
    return tuple(answer[name] for name in ("type", "title", "detail", "code"))


def test_routes__walked__are_those_of_the_document() -> None:
    in_document = {
        (method.upper(), path.removeprefix("/vendor/v1"))
        for path, operations in document()["paths"].items()
        for method in operations
    }

    of_access = {("POST", f"/access/v1/{pattern.pattern}") for pattern in access_urlpatterns}
    assert in_document == {(method, path) for method, path, _ in ROUTES} | of_access
    assert len(ROUTES) > 60


def test_routes__walked__each_names_a_scope_and_an_operation_of_its_own() -> None:
    names = [operation.name for _, _, operation in ROUTES]

    assert all(operation.scope is not None for _, _, operation in ROUTES)
    assert len(set(names)) == len(names)
    assert {
        method
        for method, path, operation in ROUTES
        if str(operation.scope).endswith(":read") and not path.endswith(("/validate", "/from-llm"))
    } == {"GET"}


def test_routes__no_key_or_a_dead_one__are_401_with_one_answer(door: Door) -> None:
    revoked = make_api_key(door.tenant)
    revoke_api_key(tenant=door.tenant, api_key_id=revoked.api_key.id, actor=ACTOR)
    expired = make_api_key(door.tenant, expires_at=real_clock().now() + timedelta(seconds=60))
    ApiKey.objects.filter(pk=expired.api_key.pk).update(expires_at=real_clock().now())
    cut_short, wrong_check = door.key[:-1], door.key[:-1] + ("a" if door.key[-1] != "a" else "b")
    doubled = f"{door.key}, Bearer {door.key}"
    seen = set()
    for method, path, _ in ROUTES:
        for key in ("", "nonsense", cut_short, wrong_check, revoked.text, expired.text, doubled):
            answer = door.call(method, filled(path), {}, key=key)
            seen.add((answer.status, answer.headers["WWW-Authenticate"], *told(answer)))

    assert seen == {(401, "Bearer", "about:blank", "Unauthorized", "No valid key was given.", "unauthorized")}


def test_routes__key_of_another_kind__are_403_wrong_key_kind(shop: Shop) -> None:
    door = shop.door
    publishable = make_api_key(door.tenant, kind="publishable", scopes=())

    answers = {
        (name, door.call(method, filled(path), {}, key=key).code)
        for key in (publishable.text, shop.agent_key)
        for name, (method, path, _) in zip(NAMES, ROUTES, strict=True)
    }

    assert answers == {(name, "wrong_key_kind") for name in NAMES}


def test_routes__agent_key_that_is_dead__are_401(shop: Shop) -> None:
    assert shop.door.post(f"/agents/{shop.agent['id']}/revoke").status == 200

    assert shop.door.call("GET", "/licenses", key=shop.agent_key).status == 401


def test_routes__key_without_their_scope__are_403_that_names_it(door: Door) -> None:
    for method, path, operation in ROUTES:
        family = str(operation.scope).partition(":")[0]
        others = sorted({str(other.scope) for _, _, other in ROUTES if not str(other.scope).startswith(f"{family}:")})
        lacking = make_api_key(door.tenant, scopes=tuple(others))

        answer = door.call(method, filled(path), {}, key=lacking.text)

        assert (answer.status, answer.code) == (403, "insufficient_scope"), (method, path)
        assert answer["scope"] == str(operation.scope)


def test_routes__key_that_may_only_read__refuse_what_writes(door: Door) -> None:
    for method, path, operation in ROUTES:
        if str(operation.scope).endswith(":write"):
            reader = (
                make_api_key(door.tenant, scopes=(str(operation.scope).replace(":write", ":read"),))
                if (str(operation.scope).replace(":write", ":read") in GRANTABLE)
                else make_api_key(door.tenant, scopes=())
            )

            assert door.call(method, filled(path), {}, key=reader.text).code == "insufficient_scope", (method, path)


def test_routes__key_with_just_their_scope__let_it_in(door: Door) -> None:
    for method, path, operation in ROUTES:
        fitting = make_api_key(door.tenant, scopes=(str(operation.scope),))

        answer = door.call(method, filled(path), {}, key=fitting.text)

        assert answer.status not in {401, 403}, (method, path, answer)


def test_routes__workspace_is_suspended__are_403_tenant_suspended(door: Door) -> None:
    suspend_tenant(tenant_id=door.tenant.id, actor=ACTOR, reason="unpaid")

    answers = {door.call(method, filled(path), {}).code for method, path, _ in ROUTES}

    assert answers == {"tenant_suspended"}


def own_ids(shop: Shop) -> dict[str, str]:
    """What each kind of path names, in this shop."""
    door = shop.door
    quota = door.made("/quotas", {"on": {"agent": shop.agent["id"]}, "meter": "tokens", "limit": 5, "period": "day"})
    return {
        "customers": shop.customer["id"],
        "products": shop.product["id"],
        "features": shop.search["id"],
        "plans": shop.plan["id"],
        "licenses": shop.license["id"],
        "agents": shop.agent["id"],
        "meters": shop.meter["id"],
        "quotas": quota["id"],
        "api-keys": door.api_key.public_id,
        "audit-entries": door.listed("/audit-entries")[0]["id"],
        "jobs": door.post("/periods/close", {"before": "2026-01-01T00:00:00Z"})["id"],
    }


@pytest.mark.django_db
def test_routes__ids_that_are_foreign_absent_or_malformed__get_the_same_404(shop: Shop) -> None:
    theirs = own_ids(shop)
    stranger = Door()
    ours = Shop(stranger)
    looked_at = 0
    for method, path, operation in ROUTES:
        if "{id}" not in path:
            continue
        resource = path.split("/")[1]
        kind = theirs.get(resource, f"hld_{NOWHERE}")
        texts = [kind, f"{kind[:4]}{NOWHERE}", "nonsense", "%00", "lic_", "a" * 300]
        bodies: set[Any] = set()
        for text in texts:
            asked = path.replace("{id}", text).replace("{key}", f"agk_{NOWHERE}")
            answer = stranger.call(method, asked, None if operation.body is None else DEMANDED.get(path, {}))
            bodies.add((answer.status, *told(answer)))
        assert bodies == {(404, "about:blank", "Not Found", "There is no such thing here.", "not_found")}, (
            method,
            path,
        )
        looked_at += 1

    assert looked_at > 30
    # Codes are another matter: each workspace has its own, and gets its own.
    assert stranger.get("/plans/pro")["id"] == ours.plan["id"] != shop.plan["id"]


@pytest.mark.parametrize("path", ["/", "/nonsense", "/licenses/", "/licenses/x/nonsense", "/top-ups-of-old"])
@pytest.mark.django_db
def test_route__unknown__is_a_problem_document(path: str) -> None:
    door = Door()

    assert (door.get(path).status, door.get(path).code) == (404, "not_found")
    assert door.call("GET", path, key="").status == 401


@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "TRACE", "DELETE", "BREW"])
@pytest.mark.django_db
def test_route__method_that_it_does_not_know__is_405_with_allow(method: str) -> None:
    answer = Door().call(method, "/licenses")

    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, POST"


@pytest.mark.django_db
def test_route__head__is_answered_like_get(door: Door) -> None:
    answer = door.call("HEAD", "/licenses")

    assert (answer.status, answer.json) == (200, None)


@pytest.mark.django_db
def test_request_id__sane_or_not__is_echoed_or_made(door: Door) -> None:
    assert door.call("GET", "/licenses", X_Request_Id="abc-123").headers["X-Request-Id"] == "abc-123"
    made = door.call("GET", "/nonsense", X_Request_Id="in sane").headers["X-Request-Id"]
    refused = door.call("GET", "/nonsense", X_Request_Id="req:1")

    assert re.fullmatch(r"[0-9a-f]{32}", made)
    assert refused["request_id"] == "req:1"
