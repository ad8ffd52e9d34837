"""Operators' pages of signing keys (their public halves) and of what was signed with them."""

from django.contrib import admin

from common.ids import Prefix
from licenses.models import IssuedToken, SigningKey
from tenants.admin import columns
from tenants.admin.base import LedgerAdmin, OperatorAdmin
from tenants.admin.filters import BY_TENANT, MadeFilter, by


@admin.register(SigningKey)
class SigningKeyAdmin(OperatorAdmin):
    """Key pairs of workspaces; the private halves are encrypted, and not read here."""

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
class IssuedTokenAdmin(LedgerAdmin):
    """Signed licences that were handed out; the tokens themselves are not kept."""

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
