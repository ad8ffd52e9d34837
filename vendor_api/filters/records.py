"""Filters of meters, quotas and of what is only read."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from common.ids import Prefix
from metering.domain.enums import Aggregation, HoldStatus, OverageStatus, QuotaMode, Scope
from tenants.domain.enums import ActorKind, JobStatus
from vendor_api.filters.base import (
    ArchivableFilter,
    IdFilter,
    ListFilter,
    NameFilter,
    TextFilter,
    TimeFilter,
    WordFilter,
)
from vendor_api.filters.resources import words


class MeterFilter(ArchivableFilter):
    """Meters."""

    code = TextFilter()
    aggregation = WordFilter(choices=words(Aggregation))


class QuotaFilter(ArchivableFilter):
    """Quotas as they are set. `license`, `agent` or `customer` lists what applies there instead, inherited ones too."""

    meter = NameFilter(field_name="meter", prefix=Prefix.METER, help_text="Its id or code.")
    plan = NameFilter(field_name="plan", prefix=Prefix.PLAN, help_text="Its id or code.")
    scope = WordFilter(choices=words(Scope))
    mode = WordFilter(choices=words(QuotaMode))
    license = IdFilter(prefix=Prefix.LICENSE, method="leave_alone", help_text="Every quota that applies to it.")
    agent = IdFilter(prefix=Prefix.AGENT, method="leave_alone", help_text="Every quota that applies to it.")
    customer = NameFilter(
        field_name="customer",
        prefix=Prefix.CUSTOMER,
        method="leave_alone",
        help_text="Every quota that applies to it; its id or external id.",
    )

    def leave_alone(self, queryset: QuerySet[Any], _name: str, _value: Any) -> QuerySet[Any]:
        """Where a quota applies does not follow from its own row."""
        return queryset


class OverageFilter(ListFilter):
    """Overage records."""

    status = WordFilter(choices=words(OverageStatus))
    license = IdFilter(field_name="license_id", prefix=Prefix.LICENSE)
    agent = IdFilter(prefix=Prefix.AGENT, method="filter_agent")
    customer = NameFilter(
        field_name="customer", prefix=Prefix.CUSTOMER, code="external_id", help_text="Its id or external id."
    )
    meter = NameFilter(field_name="meter", prefix=Prefix.METER, help_text="Its id or code.")
    quota = IdFilter(field_name="quota_id", prefix=Prefix.QUOTA)
    plan = NameFilter(field_name="quota__plan", prefix=Prefix.PLAN, help_text="Its id or code.")
    period_after = TimeFilter(
        field_name="period_start", lookup_expr="gte", help_text="Its period begins then or later."
    )
    period_before = TimeFilter(field_name="period_start", lookup_expr="lt", help_text="Its period begins before.")

    def filter_agent(self, queryset: QuerySet[Any], _name: str, value: Any) -> QuerySet[Any]:
        return queryset.filter(scope=Scope.AGENT, subject_id=value)


class AuditFilter(ListFilter):
    """Audit entries, by when, who, what and to what."""

    target = TextFilter(field_name="target_id", help_text="The id of what was changed.")
    target_kind = TextFilter(help_text="Such as `license`.")
    action = TextFilter(help_text="Such as `license.revoked`.")
    actor = TextFilter(field_name="actor_id", help_text="The id of who did it.")
    actor_kind = WordFilter(choices=words(ActorKind))
    request_id = TextFilter()
    created_after = TimeFilter(field_name="at", lookup_expr="gte")
    created_before = TimeFilter(field_name="at", lookup_expr="lt")


class HoldFilter(ListFilter):
    """Holds; an open one whose time is over counts as expired."""

    status = WordFilter(choices=words(HoldStatus), method="filter_status")
    license = IdFilter(field_name="license_id", prefix=Prefix.LICENSE)
    agent = IdFilter(field_name="agent_id", prefix=Prefix.AGENT)
    customer = NameFilter(
        field_name="customer", prefix=Prefix.CUSTOMER, code="external_id", help_text="Its id or external id."
    )
    client_id = TextFilter(help_text="The id that the caller gave.")
    expires_after = TimeFilter(field_name="expires_at", lookup_expr="gte")
    expires_before = TimeFilter(field_name="expires_at", lookup_expr="lt")

    def filter_status(self, queryset: QuerySet[Any], _name: str, value: str) -> QuerySet[Any]:
        over = Q(status=HoldStatus.OPEN, expires_at__lte=self.at)
        match value:
            case HoldStatus.OPEN:
                return queryset.filter(status=HoldStatus.OPEN, expires_at__gt=self.at)
            case HoldStatus.EXPIRED:
                return queryset.filter(over | Q(status=HoldStatus.EXPIRED))
        return queryset.filter(status=value)


class JobFilter(ListFilter):
    """Jobs."""

    status = WordFilter(choices=words(JobStatus))
    kind = TextFilter()
