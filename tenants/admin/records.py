"""Operators' pages of what happened: the audit trail, the outbox, remembered answers, jobs."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from common.ids import Prefix, encode_id
from tenants.admin import columns
from tenants.admin.base import LedgerAdmin, OperatorAdmin
from tenants.admin.columns import display
from tenants.admin.filters import BY_TENANT, MadeFilter, by
from tenants.admin.links import PAGES, code, public_id_link
from tenants.models import AuditChain, AuditEntry, AuditSeal, IdempotencyRecord, Job, OutboxEvent
from tenants.services.sealing import seal_audit


@admin.register(AuditEntry)
class AuditEntryAdmin(LedgerAdmin):
    """Who changed what. Sealed when it is read, so that what an operator sees is in the chain."""

    with_related = ("tenant", "seal")
    public_binary = frozenset({"seal__hash"})
    list_display = ("at", "action", "target", "actor", "reason", "tenant", "sequence")
    list_display_links = ("at", "action")
    list_filter = (BY_TENANT, by("actor_kind"), MadeFilter)
    changes_shown = columns.json_block("changes")
    fieldsets = (
        ("What", {"fields": ("typeid", "at", "action", "target", "changes_shown", "reason")}),
        ("Who", {"fields": ("actor", "actor_page", "address", "request_id", "tenant")}),
        ("Seal", {"fields": ("sequence", "seal_hash", "sealed_at")}),
    )

    @display(description="target")
    def target(self, row: AuditEntry) -> str:
        """What was changed."""
        return public_id_link(row.target_id)

    @display(description="actor")
    def actor(self, row: AuditEntry) -> str:
        """Who changed it."""
        return f"{row.get_actor_kind_display()} {row.actor_name or row.actor_id}".strip()

    @display(description="actor's page")
    def actor_page(self, row: AuditEntry) -> str:
        """Where to read on."""
        return public_id_link(row.actor_id)

    @display(description="place in the chain")
    def sequence(self, row: AuditEntry) -> str:
        """The seal's number."""
        return f"#{row.seal.sequence}" if hasattr(row, "seal") else "–"

    @display(description="hash")
    def seal_hash(self, row: AuditEntry) -> str:
        """The seal's hash, over this entry and the hash before it."""
        return code(bytes(row.seal.hash).hex() if hasattr(row, "seal") else "–")

    @display(description="sealed at")
    def sealed_at(self, row: AuditEntry) -> str:
        """When the entry entered the chain."""
        return columns.when(row.seal.sealed_at if hasattr(row, "seal") else None)

    def by_id(self, queryset: Any, prefix: str, id: Any) -> Any:
        """Ids of things find what was done to them."""
        if prefix in PAGES and prefix not in {Prefix.AUDIT, Prefix.TENANT}:
            return queryset.filter(target_id=encode_id(prefix, id))
        return super().by_id(queryset, prefix, id)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Seals what is not sealed yet, then lists."""
        if request.method == "GET" and self.has_view_permission(request):
            seal_audit()
        response: HttpResponse = super().changelist_view(request, extra_context)
        return response

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The entry, sealed."""
        row = super().get_object(request, object_id, from_field)
        if row is not None and not hasattr(row, "seal") and self.has_view_permission(request, row):
            seal_audit(row.tenant_id, everything=True)
            row = super().get_object(request, object_id, from_field)
        return row


@admin.register(AuditSeal)
class AuditSealAdmin(LedgerAdmin):
    """Entries' places in their tenants' chains."""

    with_related = ("tenant", "entry")
    public_binary = frozenset({"hash", "previous_hash"})
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.AUDIT: "entry_id"}
    list_display = ("sequence_shown", "entry", "tenant", "hash_shown", "sealed_at")
    list_filter = (BY_TENANT, MadeFilter)
    hash_shown = columns.hexadecimal("hash", "hash")
    previous_shown = columns.hexadecimal("previous_hash", "hash before it")
    fieldsets = ((None, {"fields": ("tenant", "sequence", "entry", "hash_shown", "previous_shown", "sealed_at")}),)

    @display(description="place in the chain")
    def sequence_shown(self, row: AuditSeal) -> str:
        """Its number."""
        return f"#{row.sequence}"


@admin.register(AuditChain)
class AuditChainAdmin(OperatorAdmin):
    """The heads of the chains."""

    with_related = ("tenant",)
    public_binary = frozenset({"hash"})
    list_display = ("tenant", "sequence", "hash_shown")
    hash_shown = columns.hexadecimal("hash", "hash")
    fieldsets = ((None, {"fields": ("tenant", "sequence", "hash_shown")}),)


@admin.register(OutboxEvent)
class OutboxEventAdmin(LedgerAdmin):
    """What vendors are told of."""

    with_related = ("tenant",)
    list_display = ("created_at", "type", "subject_shown", "typeid", "tenant", "dispatched_at")
    list_display_links = ("created_at", "type")
    list_filter = (BY_TENANT, MadeFilter)
    data_shown = columns.json_block("data")
    fieldsets = (
        ("Event", {"fields": ("typeid", "type", "subject_shown", "tenant", "created_at", "dispatched_at")}),
        ("Data", {"fields": ("data_shown",)}),
    )

    @display(description="subject")
    def subject_shown(self, row: OutboxEvent) -> str:
        """What it is about."""
        return public_id_link(row.subject)


@admin.register(IdempotencyRecord)
class IdempotencyRecordAdmin(LedgerAdmin):
    """Which POSTs were answered before. The answers themselves are encrypted, and stay so."""

    with_related = ("tenant",)
    related_ids = {Prefix.TENANT: "tenant_id"}
    list_display = ("created_at", "key", "caller_page", "status", "tenant", "expires_at")
    list_filter = (BY_TENANT, MadeFilter)
    fieldsets = ((None, {"fields": ("created_at", "tenant", "caller_page", "key", "status", "expires_at")}),)

    @display(description="caller")
    def caller_page(self, row: IdempotencyRecord) -> str:
        """The key that called."""
        return public_id_link(row.caller)


@admin.register(Job)
class JobAdmin(LedgerAdmin):
    """Longer work. What it was given and what it made may hold new keys, so neither is shown."""

    with_related = ("tenant",)
    list_display = ("created_at", "kind", "status_label", "typeid", "tenant", "started_at", "finished_at")
    list_display_links = ("created_at", "kind")
    list_filter = (BY_TENANT, by("status"), MadeFilter)
    status_label = columns.status()
    progress_shown = columns.json_block("progress")
    error_shown = columns.json_block("error")
    fieldsets = (
        ("Job", {"fields": ("typeid", "tenant", "kind", "status")}),
        ("Course", {"fields": ("created_at", "started_at", "finished_at", "lease_until")}),
        ("Outcome", {"fields": ("progress_shown", "error_shown")}),
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        """Without what may hold keys."""
        return super().get_queryset(request).defer("input", "result", "actor")
