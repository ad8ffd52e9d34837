"""Operators' pages of vendors' API keys, and of the epochs that make every change felt at once."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from common.crypto import parse_key
from tenants.admin import columns
from tenants.admin.base import LedgerAdmin
from tenants.admin.columns import display
from tenants.admin.filters import BY_TENANT, MadeFilter, by
from tenants.admin.links import code, subject_link
from tenants.admin.operations import OperatedAdmin, Operation
from tenants.admin.panels import Panel, trail_of
from tenants.models import ApiKey, Epoch, OpaqueKey
from tenants.services.api_keys import revoke_api_key


class OpaqueKeyAdmin(OperatedAdmin, LedgerAdmin):
    """Keys, by their hints. Nothing of what a key is checked with is read."""

    networks_shown = columns.json_block("networks")

    @display(description="key")
    def hint_code(self, row: OpaqueKey) -> str:
        """Beginning and end."""
        return code(row.hint)

    @display(description="state", label=columns.STATUS_COLOURS)
    def state(self, row: OpaqueKey) -> str:
        """Active, expired or revoked; keys live on real time."""
        if row.revoked_at is not None:
            return "revoked"
        return "expired" if row.expires_at is not None and row.expires_at <= columns.real_now() else "active"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """A whole key finds its row by the part that names it: the secret is not looked at."""
        parsed = parse_key(search_term.strip())
        return super().get_search_results(request, queryset, parsed.key_id if parsed else search_term)


@admin.register(ApiKey)
class ApiKeyAdmin(OpaqueKeyAdmin):
    """Keys of vendors' backends and of shipped software."""

    operations = (
        Operation(
            name="revoke",
            label="Revoke",
            done="revoked",
            icon="block",
            effect="Whoever uses these keys is answered 401 from now on.",
            run=lambda row, actor, reason: revoke_api_key(
                tenant=row.tenant, api_key_id=row.pk, actor=actor, reason=reason
            ),
            fits=lambda row: row.revoked_at is None,
            for_good=True,
        ),
    )
    with_related = ("tenant",)
    list_display = ("name", "hint_code", "kind", "typeid", "tenant", "state", "last_used_at", "created_at")
    list_filter = (BY_TENANT, by("kind"), MadeFilter)
    search_fields = ("key_id__exact", "hint__startswith", "name__istartswith")
    scopes_shown = columns.json_block("scopes")
    fieldsets = (
        ("Key", {"fields": ("typeid", "tenant", "name", "hint_code", "kind")}),
        ("State", {"fields": ("state", "created_at", "last_used_at", "expires_at", "revoked_at")}),
        ("What it may do", {"fields": ("scopes_shown", "networks_shown")}),
    )

    def panels(self, request: HttpRequest, row: ApiKey) -> Iterable[Panel]:
        """Its trail."""
        yield trail_of(row, tenant_id=row.tenant_id)


@admin.register(Epoch)
class EpochAdmin(LedgerAdmin):
    """How often something that cached snapshots are made of has changed."""

    with_related = ("tenant",)
    related_ids = {"ten": "tenant_id", "cus": "subject_id", "lic": "subject_id", "agt": "subject_id"}
    list_display = ("changed_at", "kind", "whom", "version", "tenant")
    list_filter = (BY_TENANT, by("kind"))
    ordering = ("-changed_at", "-pk")
    fieldsets = ((None, {"fields": ("tenant", "kind", "whom", "version", "changed_at")}),)

    @display(description="subject")
    def whom(self, row: Epoch) -> str:
        """What has changed."""
        return subject_link(row.kind, row.subject_id)
