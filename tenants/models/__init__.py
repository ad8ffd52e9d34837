"""Who: workspaces, members, customers, API keys, audit trail, outbox, epochs."""

from tenants.models.access import ApiKey, Epoch, OpaqueKey
from tenants.models.base import Identified, TenantOwned, TenantQuerySet, enum_choices
from tenants.models.records import AuditChain, AuditEntry, AuditSeal, IdempotencyRecord, Job, OutboxEvent
from tenants.models.tenant import Customer, Invitation, Membership, Tenant, User

__all__ = [
    "ApiKey",
    "AuditChain",
    "AuditEntry",
    "AuditSeal",
    "Customer",
    "Epoch",
    "IdempotencyRecord",
    "Identified",
    "Invitation",
    "Job",
    "Membership",
    "OpaqueKey",
    "OutboxEvent",
    "Tenant",
    "TenantOwned",
    "TenantQuerySet",
    "User",
    "enum_choices",
]
