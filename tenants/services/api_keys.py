"""Keys of vendors' backends and of shipped software: made, changed, revoked."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from msgspec import UNSET, UnsetType

from common.clock import real_clock
from common.crypto import KeyKind, mint_key
from common.epochs import EpochKey
from common.errors import Conflict, Invalid
from tenants.domain.actors import Actor
from tenants.domain.enums import ApiKeyKind, EpochKind, TenantMode
from tenants.domain.scopes import GRANTABLE, unknown_scopes
from tenants.models import ApiKey, Tenant
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import apply_changes
from tenants.services.epochs import bump_epochs, republish
from tenants.services.outbox import emit_event

_TEXT_KIND = {ApiKeyKind.SECRET: KeyKind.SECRET, ApiKeyKind.PUBLISHABLE: KeyKind.PUBLISHABLE}


class CreatedApiKey(NamedTuple):
    """A new key and its text, which is shown once."""

    api_key: ApiKey
    text: str

    def __repr__(self) -> str:
        return f"CreatedApiKey({self.api_key!r})"


def create_api_key(
    *,
    tenant: Tenant,
    actor: Actor,
    name: str,
    kind: str = ApiKeyKind.SECRET,
    scopes: Sequence[str] = (),
    networks: Sequence[str] = (),
    expires_at: datetime | None = None,
) -> CreatedApiKey:
    """Make a key: `pm_sk_` with scopes, or `pm_pk_` without any, as it may validate and activate only.

    Keys live on real time, also in a workspace whose clock was moved. Whether the caller may hand these scopes
    on is for the door to say. Raises Invalid.
    """
    key_kind = fields.member(kind, "kind", ApiKeyKind)
    minted = mint_key(_TEXT_KIND[key_kind], test=tenant.mode == TenantMode.TEST)
    api_key = ApiKey(
        tenant=tenant,
        name=fields.text(name, "name"),
        kind=key_kind,
        scopes=_scopes(scopes, key_kind),
        networks=fields.networks(networks),
        expires_at=fields.key_expiry(expires_at),
        key_id=minted.key_id,
        digest=minted.digest,
        pepper_id=minted.pepper_id,
        hint=minted.hint,
    )
    with transaction.atomic():
        api_key.save(force_insert=True)
        record_audit(
            tenant_id=tenant.id,
            actor=actor,
            action="api_key.created",
            target=api_key,
            changes={
                "name": [None, api_key.name],
                "kind": [None, api_key.kind],
                "scopes": [None, api_key.scopes],
            },
        )
    return CreatedApiKey(api_key, minted.text)


def update_api_key(
    *,
    tenant: Tenant,
    api_key_id: UUID,
    actor: Actor,
    name: str | UnsetType = UNSET,
    scopes: Sequence[str] | UnsetType = UNSET,
    networks: Sequence[str] | UnsetType = UNSET,
    expires_at: datetime | UnsetType | None = UNSET,
    kind: str | UnsetType = UNSET,
) -> ApiKey:
    """Change what is given; the kind stays (`immutable`). Raises NotFound, Invalid, Conflict `key_revoked`."""
    with transaction.atomic():
        api_key = _locked(tenant, api_key_id)
        if api_key.revoked_at is not None:
            raise Conflict("key_revoked", "The key is revoked for good. Make a new one.")
        if kind is not UNSET:
            fields.immutable(kind, api_key.kind, "kind")
        wanted = {
            "name": UNSET if name is UNSET else fields.text(name, "name"),
            "scopes": UNSET if scopes is UNSET else _scopes(scopes, ApiKeyKind(api_key.kind)),
            "networks": UNSET if networks is UNSET else fields.networks(networks),
            "expires_at": UNSET if expires_at is UNSET else fields.key_expiry(expires_at),
        }
        if changes := apply_changes(api_key, wanted):
            api_key.save(update_fields=[*changes, "updated_at"])
            record_audit(tenant_id=tenant.id, actor=actor, action="api_key.updated", target=api_key, changes=changes)
            bump_epochs(tenant.id, _epoch(api_key))
        else:
            republish(tenant.id, _epoch(api_key))
    return api_key


def revoke_api_key(*, tenant: Tenant, api_key_id: UUID, actor: Actor, reason: str = "") -> ApiKey:
    """Revoke a key for good; twice is the same as once. Emits `key.revoked`. Raises NotFound, RevocationPending."""
    reason = fields.reason(reason)
    with transaction.atomic():
        api_key = _locked(tenant, api_key_id)
        if api_key.revoked_at is not None:
            republish(tenant.id, _epoch(api_key))
            return api_key
        changes = apply_changes(api_key, {"revoked_at": real_clock().now()})
        api_key.save(update_fields=["revoked_at", "updated_at"])
        record_audit(
            tenant_id=tenant.id,
            actor=actor,
            action="api_key.revoked",
            target=api_key,
            changes=changes,
            reason=reason,
        )
        emit_event(
            tenant_id=tenant.id,
            type="key.revoked",
            subject=api_key.public_id,
            data={"key": api_key.public_id, "kind": api_key.kind, "reason": reason},
        )
        bump_epochs(tenant.id, _epoch(api_key))
    return api_key


def _locked(tenant: Tenant, api_key_id: UUID) -> ApiKey:
    return ApiKey.objects.for_tenant(tenant).select_for_update(no_key=True).get_or_raise(api_key_id)


def _scopes(value: Sequence[str], kind: ApiKeyKind) -> list[str]:
    scopes = fields.texts(value, "scopes", most=len(GRANTABLE), max_length=64)
    if kind is ApiKeyKind.PUBLISHABLE and scopes:
        detail = "A publishable key has no scopes: it may validate and activate only."
        raise Invalid.field("scopes", "invalid", detail)
    if unknown := unknown_scopes(scopes):
        detail = f"Unknown: {', '.join(unknown)}. Scopes are {', '.join(sorted(GRANTABLE))}."
        raise Invalid.field(f"scopes.{scopes.index(unknown[0])}", "unknown_scope", detail)
    return scopes


def _epoch(api_key: ApiKey) -> EpochKey:
    return EpochKey(EpochKind.KEY, api_key.id)
