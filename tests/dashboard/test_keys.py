"""API keys from the pages: made and shown once, usable at once, revoked for good."""

from __future__ import annotations

import re

import pytest

from tenants.domain.enums import Role
from tenants.models import ApiKey, AuditEntry, Membership
from tenants.selectors.api_keys import authenticate
from tests.dashboard.people import browser
from tests.factories import make_api_key, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(("kind", "prefix", "scopes"), [("secret", "pm_sk_", ["*"]), ("publishable", "pm_pk_", [])])
def test_make_key__each_kind__is_shown_once_and_works(kind: str, prefix: str, scopes: list[str]) -> None:
    tenant = make_workspace()
    client = browser(tenant)
    made = client.post(f"/dashboard/{tenant.slug}/keys/make/", {"name": "Backend", "kind": kind})
    assert (made.status_code, made.headers["Location"]) == (302, f"/dashboard/{tenant.slug}/keys/")
    kept = client.session["created_api_key"]["sealed"]
    answer = client.get(made.headers["Location"])
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    found = re.search(r'<code id="key-text">([^<]+)</code>', answer.content.decode())
    assert found is not None
    text = found[1]
    assert text.startswith(prefix)
    key = authenticate(text)
    assert key is not None
    assert (key.tenant_id, key.name, key.kind, key.scopes) == (tenant.id, "Backend", kind, scopes)
    entry = AuditEntry.objects.get(action="api_key.created")
    assert (entry.actor_kind, entry.target_id) == ("user", key.public_id)
    assert text not in kept
    assert "created_api_key" not in client.session
    assert text not in client.get(f"/dashboard/{tenant.slug}/keys/").content.decode()
    assert ApiKey.objects.count() == 1


def test_make_key__then_another_workspace_is_opened__its_text_is_not_shown_there() -> None:
    tenant, other = make_workspace(), make_workspace()
    client = browser(tenant)
    Membership.objects.create(tenant=other, user=Membership.objects.get(tenant=tenant).user, role=Role.OWNER)
    client.post(f"/dashboard/{tenant.slug}/keys/make/", {"name": "Backend", "kind": "secret"})
    assert 'id="key-text"' not in client.get(f"/dashboard/{other.slug}/keys/").content.decode()


@pytest.mark.parametrize(
    "data", [{}, {"name": " ", "kind": "secret"}, {"name": "x", "kind": "root"}, {"name": "a\x07b"}]
)
def test_make_key__bad_answer__is_told_and_makes_none(data: dict[str, str]) -> None:
    tenant = make_workspace()
    page = browser(tenant).post(f"/dashboard/{tenant.slug}/keys/make/", data, follow=True).content.decode()
    assert 'class="notice error"' in page
    assert ApiKey.objects.count() == 0


def test_revoke_key__asked_then_confirmed__is_dead_for_good() -> None:
    tenant = make_workspace()
    made = make_api_key(tenant)
    client = browser(tenant)
    path = f"/dashboard/{tenant.slug}/keys/{made.api_key.public_id}/revoke/"
    assert "This cannot be undone." in client.get(path).content.decode()
    assert authenticate(made.text) is not None
    page = client.post(path, {"reason": "leaked"}, follow=True).content.decode()
    assert "is revoked for good." in page
    assert authenticate(made.text) is None
    assert AuditEntry.objects.get(action="api_key.revoked").reason == "leaked"


def test_overview__nothing_metered_yet__leads_to_the_keys() -> None:
    tenant = make_workspace()
    assert (
        f'href="/dashboard/{tenant.slug}/keys/">' in browser(tenant).get(f"/dashboard/{tenant.slug}/").content.decode()
    )
