"""Filters of the runaway guard's incidents."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from common.ids import Prefix
from metering.domain.runaway import RunawayAction, RunawayRule
from vendor_api.filters.base import IdFilter, ListFilter, NameFilter, WordFilter
from vendor_api.filters.resources import words
from vendor_api.serializers.runaway import STATES


class RunawayIncidentFilter(ListFilter):
    """Incidents of the runaway guard."""

    status = WordFilter(choices=[(state, state) for state in STATES], method="filter_status")
    rule = WordFilter(choices=words(RunawayRule))
    action = WordFilter(choices=words(RunawayAction))
    agent = IdFilter(field_name="agent_id", prefix=Prefix.AGENT)
    license = IdFilter(field_name="agent__license_id", prefix=Prefix.LICENSE)
    customer = NameFilter(
        field_name="agent__license__customer",
        prefix=Prefix.CUSTOMER,
        code="external_id",
        help_text="Its id or external id.",
    )

    def filter_status(self, queryset: QuerySet[Any], _name: str, value: str) -> QuerySet[Any]:
        match value:
            case "open":
                return queryset.filter(ended_at__isnull=True)
            case "ended":
                return queryset.filter(ended_at__isnull=False, undone_at__isnull=True)
        return queryset.filter(undone_at__isnull=False)
