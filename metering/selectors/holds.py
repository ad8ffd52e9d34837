"""Reads of holds."""

from datetime import datetime
from uuid import UUID

from metering.domain.enums import HoldStatus
from metering.models import Hold
from tenants.models import Tenant, TenantQuerySet


def list_holds(
    tenant: Tenant | UUID,
    *,
    license_id: UUID | None = None,
    customer_id: UUID | None = None,
    agent_id: UUID | None = None,
    status: HoldStatus | None = None,
) -> TenantQuerySet[Hold]:
    """Holds, newest first, with whose they are."""
    wanted = {"license_id": license_id, "customer_id": customer_id, "agent_id": agent_id, "status": status}
    holds = Hold.objects.for_tenant(tenant).filter(
        **{field: value for field, value in wanted.items() if value is not None}
    )
    return holds.select_related("license", "customer", "agent").order_by("-created_at", "-id")


def holds_in_force(tenant: Tenant | UUID, *, agent_id: UUID, at: datetime) -> TenantQuerySet[Hold]:
    """An agent's holds that still reserve something at `at` (workspace time); one is over at its very expiry."""
    return list_holds(tenant, agent_id=agent_id, status=HoldStatus.OPEN).filter(expires_at__gt=at)
