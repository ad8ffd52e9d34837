"""Filters of top-ups."""

from __future__ import annotations

from typing import Any

from django.db.models import F, Q, QuerySet

from common.ids import Prefix
from metering.domain.enums import Scope, TopUpOrigin, TopUpState
from tenants.models import Customer
from vendor_api.filters.base import IdFilter, ListFilter, NameFilter, TextFilter, TimeFilter, WordFilter
from vendor_api.filters.resources import words


class TopUpFilter(ListFilter):
    """Top-ups."""

    has_metadata = True
    quota = IdFilter(field_name="quota_id", prefix=Prefix.QUOTA)
    meter = NameFilter(field_name="quota__meter", prefix=Prefix.METER, help_text="Its id or code.")
    plan = NameFilter(field_name="quota__plan", prefix=Prefix.PLAN, help_text="Its id or code.")
    scope = WordFilter(choices=words(Scope))
    license = IdFilter(prefix=Prefix.LICENSE, method="filter_license", help_text="For this license itself.")
    agent = IdFilter(prefix=Prefix.AGENT, method="filter_agent", help_text="For this agent itself.")
    customer = NameFilter(
        field_name="customer",
        prefix=Prefix.CUSTOMER,
        method="filter_customer",
        help_text="For this customer itself; its id or external id.",
    )
    state = WordFilter(choices=words(TopUpState), method="filter_state")
    origin = WordFilter(choices=words(TopUpOrigin))
    reference = TextFilter()
    expires_after = TimeFilter(field_name="expires_at", lookup_expr="gte")
    expires_before = TimeFilter(field_name="expires_at", lookup_expr="lt")

    def filter_license(self, queryset: QuerySet[Any], _name: str, value: Any) -> QuerySet[Any]:
        return queryset.filter(scope=Scope.LICENSE, subject_id=value)

    def filter_agent(self, queryset: QuerySet[Any], _name: str, value: Any) -> QuerySet[Any]:
        return queryset.filter(scope=Scope.AGENT, subject_id=value)

    def filter_customer(self, queryset: QuerySet[Any], _name: str, value: Any) -> QuerySet[Any]:
        if isinstance(value, str):
            # Other workspaces' customers of this name are not among the rows that are filtered.
            return queryset.filter(
                scope=Scope.CUSTOMER, subject_id__in=Customer.objects.filter(external_id=value).values("id")
            )
        return queryset.filter(scope=Scope.CUSTOMER, subject_id=value)

    def filter_state(self, queryset: QuerySet[Any], _name: str, value: str) -> QuerySet[Any]:
        over = Q(expires_at__isnull=False, expires_at__lte=self.at)
        live = queryset.filter(~over, voided_at__isnull=True)
        match value:
            case TopUpState.VOIDED:
                return queryset.filter(voided_at__isnull=False)
            case TopUpState.EXPIRED:
                return queryset.filter(over, voided_at__isnull=True)
            case TopUpState.USED_UP:
                return live.filter(used__gte=F("amount"))
            case TopUpState.PENDING:
                return live.filter(used__lt=F("amount"), starts_at__gt=self.at)
        return live.filter(used__lt=F("amount"), starts_at__lte=self.at)
