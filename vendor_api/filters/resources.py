"""Filters of customers, the catalogue, licences, agents and keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import DateTimeField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from common.clock import real_clock
from common.ids import Prefix
from licenses.domain.enums import (
    AgentKind,
    AgentStatus,
    DisplayedAgentStatus,
    DisplayedStatus,
    FeatureKind,
    KeyStatus,
    LicenseKind,
    LicenseStatus,
    PlanRole,
)
from licenses.models import LicensePlan
from tenants.domain.enums import ApiKeyKind, CustomerStatus
from vendor_api.filters.base import (
    ArchivableFilter,
    IdFilter,
    ListFilter,
    NameFilter,
    TextFilter,
    TimeFilter,
    WordFilter,
)


def words(enum: Any) -> list[tuple[str, str]]:
    """A vocabulary as the choices of a filter."""
    return [(member.value, member.value) for member in enum]


class CustomerFilter(ListFilter):
    """Archived customers are left out unless `status=archived` asks for them."""

    has_metadata = True
    status = WordFilter(choices=words(CustomerStatus))
    external_id = TextFilter()
    email = TextFilter()

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value("status") in (None, "") and not self.value("external_id"):
            queryset = queryset.exclude(status=CustomerStatus.ARCHIVED)
        filtered: QuerySet[Any] = super().filter_queryset(queryset)
        return filtered


class ProductFilter(ArchivableFilter):
    """Products."""

    has_metadata = True
    code = TextFilter()


class FeatureFilter(ArchivableFilter):
    """Features."""

    product = NameFilter(field_name="product", prefix=Prefix.PRODUCT, help_text="Its id or code.")
    code = TextFilter()
    kind = WordFilter(choices=words(FeatureKind))


class PlanFilter(ArchivableFilter):
    """Plans."""

    has_metadata = True
    product = NameFilter(field_name="product", prefix=Prefix.PRODUCT, help_text="Its id or code.")
    code = TextFilter()


class LicenseFilter(ArchivableFilter):
    """Licences; `status` is what holds now."""

    has_metadata = True
    status = WordFilter(choices=words(DisplayedStatus), method="filter_status")
    kind = WordFilter(choices=words(LicenseKind))
    customer = NameFilter(
        field_name="customer", prefix=Prefix.CUSTOMER, code="external_id", help_text="Its id or external id."
    )
    external_id = TextFilter(field_name="customer__external_id", help_text="Of the customer.")
    plan = NameFilter(
        field_name="carried_plans__plan",
        prefix=Prefix.PLAN,
        method="filter_plan",
        help_text="Its id or code; add-ons count too.",
    )
    product = NameFilter(
        field_name="product", prefix=Prefix.PRODUCT, method="filter_product", help_text="Its id or code."
    )
    expires_after = TimeFilter(field_name="expires_at", lookup_expr="gte", help_text="Ends at this time or later.")
    expires_before = TimeFilter(field_name="expires_at", lookup_expr="lt", help_text="Ends before this time.")

    def filter_plan(self, queryset: QuerySet[Any], _name: str, value: Any) -> QuerySet[Any]:
        return queryset.filter(_carries(_named("plan", value)))

    def filter_product(self, queryset: QuerySet[Any], _name: str, value: Any) -> QuerySet[Any]:
        return queryset.filter(_carries(_named("plan__product", value) & Q(role=PlanRole.BASE)))

    def filter_status(self, queryset: QuerySet[Any], _name: str, value: str) -> QuerySet[Any]:
        if value in {LicenseStatus.SUSPENDED, LicenseStatus.REVOKED}:
            return queryset.filter(status=value)
        queryset = queryset.filter(status=LicenseStatus.ACTIVE)
        begun = Q(starts_at__lte=self.at)
        over = Q(expires_at__lte=self.at)
        match value:
            case DisplayedStatus.NOT_STARTED:
                return queryset.exclude(begun)
            case DisplayedStatus.ACTIVE | DisplayedStatus.TRIAL:
                trial = _carries(Q(role=PlanRole.BASE, plan__trial=True))
                of_this_kind = trial if value == DisplayedStatus.TRIAL else ~trial
                return queryset.filter(begun, of_this_kind, Q(expires_at__isnull=True) | Q(expires_at__gt=self.at))
        in_grace = _carries(Q(role=PlanRole.BASE, plan__grace_days__gt=0, grace_until__gt=self.at))
        return queryset.filter(begun, over, in_grace if value == DisplayedStatus.GRACE else ~in_grace)


class AgentFilter(ArchivableFilter):
    """Agents; `status` is what holds now."""

    has_metadata = True
    status = WordFilter(choices=words(DisplayedAgentStatus), method="filter_status")
    kind = WordFilter(choices=words(AgentKind))
    license = IdFilter(field_name="license_id", prefix=Prefix.LICENSE)
    customer = NameFilter(
        field_name="license__customer", prefix=Prefix.CUSTOMER, code="external_id", help_text="Its id or external id."
    )
    parent = IdFilter(field_name="parent_id", prefix=Prefix.AGENT, help_text="Its direct children.")
    name = TextFilter()
    expires_after = TimeFilter(field_name="expires_at", lookup_expr="gte")
    expires_before = TimeFilter(field_name="expires_at", lookup_expr="lt")

    def filter_status(self, queryset: QuerySet[Any], _name: str, value: str) -> QuerySet[Any]:
        if value in {AgentStatus.SUSPENDED, AgentStatus.REVOKED}:
            return queryset.filter(status=value)
        over = Q(expires_at__isnull=False, expires_at__lte=self.at)
        return queryset.filter(over if value == DisplayedAgentStatus.EXPIRED else ~over, status=AgentStatus.ACTIVE)


class KeyFilter(ListFilter):
    """Keys; `status` is what holds now."""

    status = WordFilter(choices=words(KeyStatus), method="filter_status")

    def filter_status(self, queryset: QuerySet[Any], _name: str, value: str) -> QuerySet[Any]:
        now = real_clock().now()
        match value:
            case KeyStatus.REVOKED:
                return queryset.filter(revoked_at__isnull=False)
            case KeyStatus.EXPIRED:
                return queryset.filter(revoked_at__isnull=True, expires_at__lte=now)
        return queryset.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now), revoked_at__isnull=True)


class ApiKeyFilter(KeyFilter):
    """API keys."""

    kind = WordFilter(choices=words(ApiKeyKind))
    name = TextFilter()


def _named(column: str, value: Any) -> Q:
    return Q(**{f"{column}__code" if isinstance(value, str) else f"{column}_id": value})


def _carries(condition: Q) -> Exists:
    """Licences with a plan of which `condition` holds; there, `grace_until` is when the licence ends in earnest."""
    one_day = timedelta(days=1)
    grace_until = ExpressionWrapper(
        Coalesce(OuterRef("expires_at"), F("created_at")) + F("plan__grace_days") * one_day,
        output_field=DateTimeField(),
    )
    carried = LicensePlan.objects.filter(tenant_id=OuterRef("tenant_id"), license_id=OuterRef("pk"))
    return Exists(carried.annotate(grace_until=grace_until).filter(condition))
