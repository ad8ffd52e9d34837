"""Operators' pages of signing keys (their public halves) and of what was signed with them."""

from django.contrib import admin

from common.ids import Prefix
from licenses.domain.enums import SigningKeyStatus
from licenses.models import IssuedToken, SigningKey
from licenses.services.signing_keys import revoke_signing_key, rotate_signing_key
from licenses.services.tokens import revoke_token
from tenants.admin import columns
from tenants.admin.base import LedgerAdmin, OperatorAdmin
from tenants.admin.filters import BY_TENANT, MadeFilter, by
from tenants.admin.operations import OperatedAdmin, Operation

KEY_OPERATIONS = (
    Operation(
        name="rotate",
        label="Rotate",
        done="rotated",
        icon="autorenew",
        effect="Their workspaces sign with new keys; these stay in the key set until their last tokens have died.",
        run=lambda row, actor, reason: rotate_signing_key(tenant=row.tenant, actor=actor, reason=reason),
        fits=lambda row: row.status == SigningKeyStatus.ACTIVE,
    ),
    Operation(
        name="revoke",
        label="Revoke as compromised",
        done="revoked",
        icon="block",
        effect="They leave the key set at once, and every token that they signed is revoked, for good.",
        run=lambda row, actor, reason: revoke_signing_key(
            tenant=row.tenant, signing_key_id=row.pk, actor=actor, reason=reason
        ),
        fits=lambda row: row.status != SigningKeyStatus.COMPROMISED,
        for_good=True,
    ),
)
TOKEN_OPERATIONS = (
    Operation(
        name="revoke",
        label="Revoke",
        done="revoked",
        icon="block",
        effect="The status lists call them revoked, for good; a lease that one carries ends with its own time.",
        run=lambda row, actor, reason: revoke_token(tenant=row.tenant, token_id=row.pk, actor=actor, reason=reason),
        fits=lambda row: row.revoked_at is None,
        for_good=True,
    ),
)


@admin.register(SigningKey)
class SigningKeyAdmin(OperatedAdmin, OperatorAdmin):
    """Key pairs of workspaces; the private halves are encrypted, and not read here."""

    operations = KEY_OPERATIONS
    with_related = ("tenant",)
    list_display = ("kid", "typeid", "tenant", "status_label", "created_at", "retired_at")
    list_filter = (BY_TENANT, by("status"), MadeFilter)
    search_fields = ("kid",)
    status_label = columns.status()
    jwk = columns.json_block("public_jwk", "public key (JWK)")
    fieldsets = (
        ("Key", {"fields": ("typeid", "tenant", "kid", "jwk")}),
        ("State", {"fields": ("status", "created_at", "retired_at", "last_token_expires_at")}),
    )


@admin.register(IssuedToken)
class IssuedTokenAdmin(OperatedAdmin, LedgerAdmin):
    """Signed licences that were handed out; the tokens themselves are not kept."""

    operations = TOKEN_OPERATIONS
    with_related = ("tenant", "license", "agent", "signing_key")
    related_ids = {
        Prefix.TENANT: "tenant_id",
        Prefix.LICENSE: "license_id",
        Prefix.AGENT: "agent_id",
        Prefix.SIGNING_KEY: "signing_key_id",
        Prefix.HOLD: "hold_id",
    }
    list_display = ("typeid", "license", "agent", "tenant", "audience", "expires_at", "revoked_at", "created_at")
    list_filter = (BY_TENANT, "offline_file", MadeFilter)
    lease = columns.id_of("hold_id", Prefix.HOLD, "lease")
    fieldsets = (
        ("Token", {"fields": ("typeid", "tenant", "license", "agent", "audience", "signing_key", "confirmation")}),
        ("State", {"fields": ("created_at", "expires_at", "revoked_at", "offline_file", "lease")}),
        ("Place in the status list", {"fields": ("list_number", "list_index")}),
    )
