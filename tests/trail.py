"""What a change leaves behind: audit entries, events for the vendor, epochs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tenants.models import AuditEntry, Epoch, OutboxEvent, Tenant


def actions(tenant: Tenant, prefix: str = "") -> list[str]:
    """Audited actions in their order."""
    entries = AuditEntry.objects.for_tenant(tenant).filter(action__startswith=prefix).order_by("id")
    return list(entries.values_list("action", flat=True))


def last_entry(tenant: Tenant) -> AuditEntry:
    return AuditEntry.objects.for_tenant(tenant).order_by("-id")[0]


def events(tenant: Tenant, prefix: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Types and data of the outbox's events in their order."""
    found = OutboxEvent.objects.for_tenant(tenant).filter(type__startswith=prefix).order_by("id")
    return list(found.values_list("type", "data"))


def event_types(tenant: Tenant, prefix: str = "") -> list[str]:
    return [type for type, _ in events(tenant, prefix)]


def epoch(tenant: Tenant, subject_id: UUID) -> int:
    """The version of a subject's epoch; 0 if it was never bumped."""
    found = Epoch.objects.for_tenant(tenant).filter(subject_id=subject_id).values_list("version", flat=True).first()
    return found or 0
