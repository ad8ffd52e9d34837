from __future__ import annotations

import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.clock import real_clock
from common.crypto import unseal
from licenses.domain.enums import SigningKeyStatus
from licenses.domain.jose import decode_base64url, thumbprint
from licenses.models import SigningKey
from licenses.selectors.signing import STATUS_LIST_LIFE, published_keys
from licenses.services.signing_keys import (
    DAYS_SETTING,
    ensure_signing_key,
    private_key,
    revoke_signing_key,
    rotate_due_keys,
    rotate_signing_key,
)
from tenants.models import AuditEntry, Tenant
from tests.factories import ACTOR, make_workspace
from tests.parallel import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def statuses(tenant: Tenant) -> list[str]:
    return list(SigningKey.objects.for_tenant(tenant).order_by("created_at", "id").values_list("status", flat=True))


def age(key: SigningKey, days: float) -> None:
    SigningKey.objects.filter(pk=key.pk).update(created_at=real_clock().now() - timedelta(days=days))


def test_ensure__first_needed_by_many_at_once__is_made_once() -> None:
    tenant = make_workspace()

    made = at_once([lambda: ensure_signing_key(tenant.id)] * 6)

    assert len({key.pk for key in made if isinstance(key, SigningKey)}) == 1
    assert statuses(tenant) == ["active"]
    assert AuditEntry.objects.for_tenant(tenant).filter(action="signing_key.created").count() == 1


def test_key__at_rest__is_encrypted_and_named_by_its_thumbprint() -> None:
    key = ensure_signing_key(make_workspace().id)

    secret = private_key(key)
    assert secret.private_bytes_raw() not in bytes(key.private_key)
    assert unseal(key.private_key) == secret.private_bytes_raw()
    assert key.kid == thumbprint(key.public_jwk)
    assert decode_base64url(key.public_jwk["x"]) == secret.public_key().public_bytes_raw()
    assert isinstance(secret, Ed25519PrivateKey)


def test_key__everywhere_that_tells_of_it__shows_no_private_half() -> None:
    tenant = make_workspace()
    rotate_signing_key(tenant=tenant, actor=ACTOR)
    key = rotate_signing_key(tenant=tenant, actor=ACTOR, compromised=True)

    told = json.dumps(list(AuditEntry.objects.for_tenant(tenant).values_list("changes", flat=True)))
    assert private_key(key).private_bytes_raw().hex() not in told
    assert "private" not in told
    assert '"d"' not in json.dumps(published_keys(tenant.id, at=real_clock().now()))


def test_rotate__by_many_at_once__leaves_exactly_one_active() -> None:
    tenant = make_workspace()

    made = at_once([lambda: rotate_signing_key(tenant=tenant, actor=ACTOR)] * 6)

    assert len({key.kid for key in made if isinstance(key, SigningKey)}) == 6
    assert statuses(tenant) == ["retired"] * 5 + ["active"]


def test_rotate__beside_revocations_and_makers__leaves_exactly_one_active() -> None:
    tenant = make_workspace()
    first = ensure_signing_key(tenant.id)

    outcomes = at_once(
        [
            lambda: rotate_signing_key(tenant=tenant, actor=ACTOR, compromised=True),
            lambda: revoke_signing_key(tenant=tenant, signing_key_id=first.id, actor=ACTOR),
            lambda: rotate_signing_key(tenant=tenant, actor=ACTOR),
            lambda: ensure_signing_key(tenant.id),
        ]
    )

    assert all(isinstance(outcome, SigningKey) for outcome in outcomes), outcomes
    assert statuses(tenant).count("active") == 1
    first.refresh_from_db()
    assert first.status in {SigningKeyStatus.COMPROMISED, SigningKeyStatus.RETIRED}


def test_rotate_due__older_than_its_workspace_wants__and_only_those() -> None:
    young, old, patient, hasty = (make_workspace() for _ in range(4))
    for tenant, days, wanted in ((young, 89.9, None), (old, 90, None), (patient, 200, 365), (hasty, 8, 7)):
        age(ensure_signing_key(tenant.id), days)
        if wanted:
            Tenant.objects.filter(pk=tenant.pk).update(settings={DAYS_SETTING: wanted})

    assert rotate_due_keys() == 2
    assert [statuses(tenant) for tenant in (young, old, patient, hasty)] == [
        ["active"],
        ["retired", "active"],
        ["active"],
        ["retired", "active"],
    ]
    assert rotate_due_keys() == 0


def test_rotate_due__by_many_at_once__rotates_once() -> None:
    tenant = make_workspace()
    age(ensure_signing_key(tenant.id), 100)

    assert sorted(at_once([rotate_due_keys] * 4)) == [0, 0, 0, 1]  # type: ignore[type-var]
    assert statuses(tenant) == ["retired", "active"]


def test_published__retired_key__stays_until_its_last_token_and_last_list_have_died() -> None:
    tenant = make_workspace()
    old = ensure_signing_key(tenant.id)
    new = rotate_signing_key(tenant=tenant, actor=ACTOR)
    now = real_clock().now()

    def kids(at_days: float) -> list[str]:
        return [key["kid"] for key in published_keys(tenant.id, at=now + timedelta(days=at_days))]

    # It signed no token, but perhaps a status list, which may be kept for a day.
    assert timedelta(days=1) == STATUS_LIST_LIFE
    assert (kids(0), kids(0.9), kids(1.1)) == ([new.kid, old.kid], [new.kid, old.kid], [new.kid])
    SigningKey.objects.filter(pk=old.pk).update(last_token_expires_at=now + timedelta(days=30))
    assert (kids(29.9), kids(30)) == ([new.kid, old.kid], [new.kid])
    revoke_signing_key(tenant=tenant, signing_key_id=old.id, actor=ACTOR)
    assert kids(0) == [new.kid]
