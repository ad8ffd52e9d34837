"""A workspace's signing keys: one signs, older ones verify until the last token of theirs has died.

A workspace's row is locked by whoever makes or retires a key, and shared by whoever signs: so exactly one key is
active, and nobody signs with one that has just been retired.
"""

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import transaction
from django.db.models import Max

from common.clock import real_clock
from common.crypto import seal, unseal
from licenses.domain.enums import SigningKeyStatus
from licenses.domain.jose import encode_base64url, thumbprint
from licenses.models import IssuedToken, SigningKey
from tenants.domain.actors import Actor, worker
from tenants.models import Tenant
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import apply_changes
from tenants.services.each_workspace import EachWorkspace
from tenants.services.epochs import publish_statuses
from tenants.services.outbox import emit_event

log = structlog.get_logger(__name__)

MAKER: Final = worker("issue_tokens")
ROTATOR: Final = worker("rotate_signing_keys")
#: The workspace's own setting of how many days a key signs.
DAYS_SETTING: Final = "signing_key_days"


def ensure_signing_key(tenant_id: UUID) -> SigningKey:
    """The key that signs now; the first is made when it is first needed."""
    active = SigningKey.objects.for_tenant(tenant_id).filter(status=SigningKeyStatus.ACTIVE)
    if (found := active.first()) is not None:
        return found
    with transaction.atomic():
        _lock(tenant_id)
        if (found := active.first()) is not None:
            return found
        return _make(tenant_id, MAKER)


def rotate_signing_key(*, tenant: Tenant, actor: Actor, reason: str = "", compromised: bool = False) -> SigningKey:
    """Sign with a new key from now on → the new one. The old one stays in the key set until its last token has died.

    With `compromised` the old one leaves the key set at once, and every token that it signed is revoked.
    Emits `signing_key.rotated`. Raises RevocationPending.
    """
    with transaction.atomic():
        _lock(tenant.id)
        return _rotate(tenant.id, actor, fields.reason(reason), compromised=compromised)


def revoke_signing_key(*, tenant: Tenant, signing_key_id: UUID, actor: Actor, reason: str = "") -> SigningKey:
    """Take a compromised key out of the key set at once, and revoke every token that it signed; twice is as once.

    If it was the active one, a new one takes its place. Emits `signing_key.rotated` for the active one,
    `signing_key.revoked` in any case. Raises NotFound, RevocationPending.
    """
    reason = fields.reason(reason)
    with transaction.atomic():
        _lock(tenant.id)
        key = SigningKey.objects.for_tenant(tenant).select_for_update().get_or_raise(signing_key_id)
        if key.status == SigningKeyStatus.ACTIVE:
            _rotate(tenant.id, actor, reason, compromised=True)
            key.refresh_from_db()
        elif key.status == SigningKeyStatus.RETIRED:
            _end(key, SigningKeyStatus.COMPROMISED, actor, "signing_key.revoked", reason)
            _tell_revoked(key, reason)
        publish_statuses(tenant.id)
    return key


def rotate_due_keys(now: datetime | None = None) -> int:
    """Rotate every key that has signed for longer than its workspace wants; how many. Safe to run in parallel."""
    at = now or real_clock().now()
    active = SigningKey.objects.filter(status=SigningKeyStatus.ACTIVE).select_related("tenant")
    rotated = 0
    each = EachWorkspace("rotate_signing_keys")
    for key in active.order_by("created_at", "id").iterator(chunk_size=500):
        if key.created_at > at - _term(key.tenant):
            continue
        with each.of(key.tenant_id), transaction.atomic():
            _lock(key.tenant_id)
            # Another run may have been quicker.
            if SigningKey.objects.filter(pk=key.pk, status=SigningKeyStatus.ACTIVE).exists():
                _rotate(key.tenant_id, ROTATOR, "", compromised=False)
                rotated += 1
    each.tell()
    return rotated


def private_key(key: SigningKey) -> Ed25519PrivateKey:
    """The private half. Raises UnsealError where the key that it is encrypted under is no longer configured."""
    return _unsealed(key.id, bytes(key.private_key))


@lru_cache(maxsize=1024)
def _unsealed(_id: UUID, sealed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(unseal(sealed))


def _lock(tenant_id: UUID) -> None:
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)


def _rotate(tenant_id: UUID, actor: Actor, reason: str, *, compromised: bool) -> SigningKey:
    old = SigningKey.objects.for_tenant(tenant_id).filter(status=SigningKeyStatus.ACTIVE).select_for_update().first()
    if old is not None:
        status = SigningKeyStatus.COMPROMISED if compromised else SigningKeyStatus.RETIRED
        _end(old, status, actor, "signing_key.revoked" if compromised else "signing_key.retired", reason)
        if compromised:
            _tell_revoked(old, reason)
            publish_statuses(tenant_id)
    new = _make(tenant_id, actor, reason)
    emit_event(
        tenant_id=tenant_id,
        type="signing_key.rotated",
        subject=new.public_id,
        data={
            "signing_key": new.public_id,
            "kid": new.kid,
            "previous": None if old is None else old.public_id,
            "compromised": compromised,
            "reason": reason,
        },
    )
    log.info("signing_key.rotated", tenant_id=str(tenant_id), kid=new.kid, compromised=compromised)
    return new


def _make(tenant_id: UUID, actor: Actor, reason: str = "") -> SigningKey:
    secret = Ed25519PrivateKey.generate()
    jwk: dict[str, Any] = {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": encode_base64url(secret.public_key().public_bytes_raw()),
    }
    kid = thumbprint(jwk)
    key = SigningKey.objects.create(
        tenant_id=tenant_id,
        kid=kid,
        public_jwk=jwk | {"kid": kid, "use": "sig", "alg": settings.PERMETER_SIGNING_ALGORITHM},
        private_key=seal(secret.private_bytes_raw()),
        created_at=real_clock().now(),
    )
    changes = {"kid": [None, kid]}
    record_audit(
        tenant_id=tenant_id, actor=actor, action="signing_key.created", target=key, changes=changes, reason=reason
    )
    return key


def _end(key: SigningKey, status: SigningKeyStatus, actor: Actor, action: str, reason: str) -> None:
    last = IssuedToken.objects.for_tenant(key.tenant_id).filter(signing_key=key).aggregate(last=Max("expires_at"))
    wanted = {
        "status": status,
        "retired_at": key.retired_at or real_clock().now(),
        "last_token_expires_at": last["last"],
    }
    changes = apply_changes(key, wanted)
    key.save(update_fields=[*wanted, "updated_at"])
    record_audit(tenant_id=key.tenant_id, actor=actor, action=action, target=key, changes=changes, reason=reason)


def _tell_revoked(key: SigningKey, reason: str) -> None:
    emit_event(
        tenant_id=key.tenant_id,
        type="signing_key.revoked",
        subject=key.public_id,
        data={"signing_key": key.public_id, "kid": key.kid, "reason": reason},
    )


def _term(tenant: Tenant) -> timedelta:
    days = tenant.settings.get(DAYS_SETTING)
    if isinstance(days, int) and not isinstance(days, bool) and days > 0:
        return timedelta(days=days)
    term: timedelta = settings.PERMETER_SIGNING_KEY_LIFE
    return term
