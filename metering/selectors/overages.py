"""Reads of overage records."""

from decimal import Decimal
from uuid import UUID

from django.db.models import Sum

from metering.domain.enums import OverageStatus
from metering.models import OverageRecord
from tenants.models import Tenant, TenantQuerySet


def list_overages(
    tenant: Tenant | UUID,
    *,
    license_id: UUID | None = None,
    customer_id: UUID | None = None,
    meter_id: UUID | None = None,
    status: OverageStatus | None = None,
) -> TenantQuerySet[OverageRecord]:
    """Overage records, newest first, with what is shown of each."""
    wanted = {"license_id": license_id, "customer_id": customer_id, "meter_id": meter_id, "status": status}
    records = OverageRecord.objects.for_tenant(tenant).filter(
        **{field: value for field, value in wanted.items() if value is not None}
    )
    return records.select_related("quota", "meter", "license", "customer").order_by("-created_at", "-id")


def overage_so_far(tenant: Tenant | UUID) -> dict[str, Decimal]:
    """What the periods that are still open come to, by currency."""
    opened = OverageRecord.objects.for_tenant(tenant).filter(status=OverageStatus.OPEN)
    totals = opened.values_list("currency").order_by("currency").annotate(total=Sum("amount"))
    return dict(totals)
