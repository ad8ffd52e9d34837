"""Reading the audit trail. Seal it first (`tenants.services.sealing.seal_audit`), so that no entry lacks its place."""

from tenants.models import AuditEntry, Tenant, TenantQuerySet


def audit_entries(tenant: Tenant) -> TenantQuerySet[AuditEntry]:
    """Every entry of the workspace with its seal; an entry that was written this instant may have none yet."""
    return AuditEntry.objects.for_tenant(tenant).select_related("seal")
