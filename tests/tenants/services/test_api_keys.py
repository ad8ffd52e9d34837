from datetime import timedelta

import pytest

from common.clock import real_clock
from common.errors import Conflict, Invalid, NotFound
from tenants.models import ApiKey
from tenants.selectors.api_keys import authenticate
from tenants.services.api_keys import revoke_api_key, update_api_key
from tenants.services.key_use import forget_noted, note_use
from tests.factories import ACTOR, make_api_key, make_test_workspace, make_workspace
from tests.trail import actions, epoch, events, last_entry

pytestmark = pytest.mark.django_db


def test_create_api_key__secret__text_authenticates_and_is_nowhere_stored():
    tenant = make_workspace()
    api_key, text = make_api_key(tenant, scopes=("licenses:read", "agents:write"))
    assert text.startswith("pm_sk_")
    assert authenticate(text) == api_key
    stored = ApiKey.objects.values().get(pk=api_key.pk)
    secret = text.split("_")[-1]
    assert not any(secret in str(value) for value in stored.values())
    assert secret not in str(last_entry(tenant).changes)
    assert actions(tenant, "api_key") == ["api_key.created"]


def test_create_api_key__test_workspace__says_so():
    assert make_api_key(make_test_workspace()).text.startswith("pm_test_sk_")
    assert make_api_key(make_test_workspace(), kind="publishable", scopes=()).text.startswith("pm_test_pk_")


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"scopes": ["licenses:read", "moon:write"]}, "scopes.1", "unknown_scope"),
        ({"scopes": ["licenses:read", "licenses:read"]}, "scopes.1", "duplicate"),
        ({"kind": "publishable", "scopes": ["licenses:read"]}, "scopes", "invalid"),
        ({"kind": "golden"}, "kind", "invalid"),
        ({"name": ""}, "name", "blank"),
        ({"networks": ["300.0.0.1"]}, "networks.0", "invalid"),
        ({"expires_at": real_clock().now() - timedelta(seconds=1)}, "expires_at", "in_the_past"),
        ({"expires_at": real_clock().now().replace(tzinfo=None)}, "expires_at", "invalid"),
    ],
)
def test_create_api_key__bad_field__names_it_and_writes_nothing(changes, field, code):
    tenant = make_workspace()
    with pytest.raises(Invalid) as caught:
        make_api_key(tenant, **changes)
    assert [(error["field"], error["code"]) for error in caught.value.errors] == [(field, code)]
    assert not ApiKey.objects.exists()
    assert actions(tenant, "api_key") == []


def test_authenticate__wrong_secret_kind_or_workspace_mode__nobody():
    api_key, text = make_api_key(make_workspace())
    other = make_api_key(make_workspace()).text
    spliced = text[: text.rindex("_")] + other[other.rindex("_") :]
    for wrong in (spliced, text[:-1], text.upper(), "", "pm_sk_", text.replace("pm_sk_", "pm_ak_"), "\0"):
        assert authenticate(wrong) is None
    ApiKey.objects.filter(pk=api_key.pk).update(kind="publishable")
    assert authenticate(text) is None


def test_authenticate__expired__nobody():
    api_key, text = make_api_key(make_workspace(), expires_at=real_clock().now() + timedelta(hours=1))
    assert authenticate(text) == api_key
    ApiKey.objects.filter(pk=api_key.pk).update(expires_at=real_clock().now())
    assert authenticate(text) is None


def test_authenticate__pepper_rotated__old_keys_still_hold(settings):
    api_key, text = make_api_key(make_workspace())
    settings.PERMETER_KEY_PEPPERS = {"next": "another-pepper", **settings.PERMETER_KEY_PEPPERS}
    assert authenticate(text) == api_key
    settings.PERMETER_KEY_PEPPERS = {"next": "another-pepper"}
    assert authenticate(text) is None


def test_revoke_api_key__twice__dead_and_told_once():
    tenant = make_workspace()
    api_key, text = make_api_key(tenant)
    first = revoke_api_key(tenant=tenant, api_key_id=api_key.id, actor=ACTOR, reason="leaked")
    again = revoke_api_key(tenant=tenant, api_key_id=api_key.id, actor=ACTOR)
    assert authenticate(text) is None
    assert again.revoked_at == first.revoked_at
    assert actions(tenant, "api_key") == ["api_key.created", "api_key.revoked"]
    assert events(tenant) == [("key.revoked", {"key": api_key.public_id, "kind": "secret", "reason": "leaked"})]
    assert epoch(tenant, api_key.id) == 1


def test_revoke_api_key__another_workspaces__not_found_and_alive():
    api_key, text = make_api_key(make_workspace())
    with pytest.raises(NotFound):
        revoke_api_key(tenant=make_workspace(), api_key_id=api_key.id, actor=ACTOR)
    assert authenticate(text) == api_key


def test_update_api_key__scopes_change__kind_does_not__revoked_refuses():
    tenant = make_workspace()
    api_key, _ = make_api_key(tenant)
    names = {"tenant": tenant, "api_key_id": api_key.id, "actor": ACTOR}
    changed = update_api_key(**names, scopes=["agents:read"], networks=["192.0.2.7/24"], kind="secret")
    assert (changed.scopes, changed.networks) == (["agents:read"], ["192.0.2.0/24"])
    with pytest.raises(Invalid) as caught:
        update_api_key(**names, kind="publishable")
    assert caught.value.errors[0]["code"] == "immutable"
    revoke_api_key(**names)
    with pytest.raises(Conflict) as conflict:
        update_api_key(**names, name="again")
    assert conflict.value.code == "key_revoked"


def test_note_use__many_calls__one_write_a_minute(django_assert_num_queries):
    forget_noted()
    api_key, _ = make_api_key(make_workspace())
    assert note_use(api_key) is True
    with django_assert_num_queries(0):
        assert note_use(api_key) is False
    forget_noted()  # as in another process
    assert note_use(api_key) is False
    long_ago = real_clock().now() - timedelta(minutes=2)
    ApiKey.objects.filter(pk=api_key.pk).update(last_used_at=long_ago)
    forget_noted()
    assert note_use(api_key) is True
    api_key.refresh_from_db()
    assert api_key.last_used_at > long_ago
