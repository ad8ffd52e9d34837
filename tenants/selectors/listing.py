"""What lists of a workspace's customers, keys, jobs and audit entries are made of."""

from __future__ import annotations

from uuid import UUID

from tenants.models import ApiKey, AuditEntry, Customer, Job, TenantQuerySet


def customers_of(tenant_id: UUID) -> TenantQuerySet[Customer]:
    """All customers, whatever their state."""
    return Customer.objects.for_tenant(tenant_id)


def api_keys_of(tenant_id: UUID) -> TenantQuerySet[ApiKey]:
    """All API keys, revoked ones too."""
    return ApiKey.objects.for_tenant(tenant_id)


def jobs_of(tenant_id: UUID) -> TenantQuerySet[Job]:
    """All jobs."""
    return Job.objects.for_tenant(tenant_id)


def audit_entries_of(tenant_id: UUID) -> TenantQuerySet[AuditEntry]:
    """The sealed audit trail, each entry with its seal. Seal first: what is not sealed yet is left out."""
    return AuditEntry.objects.for_tenant(tenant_id).filter(seal__isnull=False).select_related("seal")
