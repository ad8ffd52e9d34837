"""What was used, as a query string asks for it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from common.errors import Invalid
from metering.models import Meter
from metering.selectors.meters import find_meter
from metering.selectors.usage import UsageQuery, UsageReport, UsageWindow, query_usage
from tenants.models import Customer, Tenant
from vendor_api.filters.usage import UsageFilter, timezone_named


def usage_asked_for(tenant: Tenant, asked: UsageFilter, *, at: datetime) -> UsageReport:
    """The report; nothing for a licence, agent or customer that does not exist. Raises Invalid."""
    asked.check()
    start, end = asked.value("from"), asked.value("to") or at
    window = asked.value("window")
    query = UsageQuery(
        meter=_meter(tenant, asked.value("meter")),
        start=start,
        end=end,
        timezone=_timezone(asked.value("timezone") or tenant.timezone),
        license_id=asked.value("license"),
        agent_id=asked.value("agent"),
        descendants=bool(asked.value("descendants")),
        customer_id=_customer(tenant, asked.value("customer")),
        window=UsageWindow(window) if window else None,
        group_by=groups_asked_for(asked),
        filter=asked.wanted_dimensions,
        top=asked.value("top"),
    )
    return query_usage(query)


def groups_asked_for(asked: UsageFilter) -> list[str]:
    """The names of `group_by`, in their order."""
    return [name.strip() for name in (asked.value("group_by") or "").split(",") if name.strip()]


def _meter(tenant: Tenant, name: str) -> Meter:
    meter = find_meter(tenant, name, archived=True)
    if meter is None:
        raise Invalid.field("meter", "unknown_meter", "No meter has this id or code.")
    return meter


def _timezone(name: str) -> ZoneInfo:
    zone = timezone_named(name)
    if zone is None:
        raise Invalid.field("timezone", "timezone_unknown", "A timezone is an IANA name, such as Europe/Berlin.")
    return zone


def _customer(tenant: Tenant, value: UUID | str | None) -> UUID | None:
    if value is None or isinstance(value, UUID):
        return value
    found = Customer.objects.for_tenant(tenant).filter(external_id=value).values_list("id", flat=True).first()
    # An id that nobody has: usage of nobody, rather than of everybody.
    return found or UUID(int=0)
