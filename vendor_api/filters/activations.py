"""Filters of activations."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from common.ids import Prefix
from licenses.domain.activations import ActivationStatus
from vendor_api.filters.base import IdFilter, ListFilter, NameFilter, TextFilter, TimeFilter, WordFilter
from vendor_api.filters.resources import words


class ActivationFilter(ListFilter):
    """Activations; `status` is what holds now."""

    status = WordFilter(choices=words(ActivationStatus), method="filter_status")
    license = IdFilter(field_name="license_id", prefix=Prefix.LICENSE)
    agent = IdFilter(field_name="agent_id", prefix=Prefix.AGENT)
    customer = NameFilter(
        field_name="license__customer", prefix=Prefix.CUSTOMER, code="external_id", help_text="Its id or external id."
    )
    fingerprint = TextFilter()
    instance = TextFilter()
    expires_after = TimeFilter(field_name="expires_at", lookup_expr="gte")
    expires_before = TimeFilter(field_name="expires_at", lookup_expr="lt")

    def filter_status(self, queryset: QuerySet[Any], _name: str, value: str) -> QuerySet[Any]:
        if value == ActivationStatus.RELEASED:
            return queryset.filter(released_at__isnull=False)
        lapsed = Q(expires_at__lte=self.at)
        living = Q(expires_at__isnull=True) | Q(expires_at__gt=self.at)
        return queryset.filter(lapsed if value == ActivationStatus.LAPSED else living, released_at__isnull=True)
