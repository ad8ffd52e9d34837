"""What raw events are asked for by."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from common.ids import Prefix
from metering.domain.enums import EventKind
from metering.selectors.events import of_agent, of_client_id, of_hold, worked_out_from
from vendor_api.filters.base import IdFilter, ListFilter, NameFilter, SwitchFilter, TextFilter, TimeFilter, WordFilter
from vendor_api.filters.resources import words
from vendor_api.filters.usage import check_whose_descendants


class UsageEventFilter(ListFilter):
    """Raw events."""

    has_dimensions = True
    #: Whose events these are: the register of ids is asked by it.
    tenant_id: UUID | None = None

    meter = NameFilter(field_name="meter", prefix=Prefix.METER, help_text="Its id or code.")
    customer = NameFilter(
        field_name="customer", prefix=Prefix.CUSTOMER, code="external_id", help_text="Its id or external id."
    )
    license = IdFilter(field_name="license_id", prefix=Prefix.LICENSE)
    agent = IdFilter(prefix=Prefix.AGENT, method="filter_agent")
    descendants = SwitchFilter(method="leave_alone", help_text="true: with all agents below `agent`.")
    event_id = IdFilter(field_name="id", prefix=Prefix.EVENT, help_text="The event's own, `evt_…`.")
    id = TextFilter(method="filter_client_id", help_text="The id that the caller gave.")
    kind = WordFilter(choices=words(EventKind))
    corrects = IdFilter(prefix=Prefix.EVENT, help_text="The event that they take back.")
    derived_from = IdFilter(
        prefix=Prefix.EVENT, method="filter_derived", help_text="The event that they were worked out from."
    )
    hold = IdFilter(prefix=Prefix.HOLD, method="filter_hold")
    flag = TextFilter(method="filter_flag", help_text="Such as `rate_missing`.")
    created_after = TimeFilter(field_name="recorded_at", lookup_expr="gte", help_text="Recorded then or later.")
    created_before = TimeFilter(field_name="recorded_at", lookup_expr="lt", help_text="Recorded before.")

    def leave_alone(self, queryset: QuerySet[Any], _name: str, _value: Any) -> QuerySet[Any]:
        """It goes with another one."""
        return queryset

    def filter_agent(self, queryset: QuerySet[Any], _name: str, value: UUID) -> QuerySet[Any]:
        return of_agent(queryset, value, descendants=bool(self.value("descendants")))

    def filter_client_id(self, queryset: QuerySet[Any], _name: str, value: str) -> QuerySet[Any]:
        if self.tenant_id is None:
            return queryset.none()
        return of_client_id(queryset, value, tenant_id=self.tenant_id, license_id=self.value("license"))

    def filter_derived(self, queryset: QuerySet[Any], _name: str, value: UUID) -> QuerySet[Any]:
        return worked_out_from(queryset, value)

    def filter_hold(self, queryset: QuerySet[Any], _name: str, value: UUID) -> QuerySet[Any]:
        return of_hold(queryset, value)

    def filter_flag(self, queryset: QuerySet[Any], _name: str, value: str) -> QuerySet[Any]:
        return queryset.filter(flags__contains=[value])

    def check(self) -> None:
        super().check()
        check_whose_descendants(self)

    def apply(self) -> QuerySet[Any]:
        """The rows that are asked for. Raises Invalid."""
        rows = super().apply()
        return rows.filter(dimensions__contains=self.wanted_dimensions) if self.wanted_dimensions else rows


# Words of the language, so these are listed instead of declared.
UsageEventFilter.base_filters.update(
    {
        "from": TimeFilter(field_name="occurred_at", lookup_expr="gte", help_text="Occurred then or later."),
        "to": TimeFilter(field_name="occurred_at", lookup_expr="lt", help_text="Occurred before."),
    }
)


class EventExportFilter(UsageEventFilter):
    """Raw events to be taken along."""

    is_paged = False


EventExportFilter.base_filters.update(
    {
        **UsageEventFilter.base_filters,
        "format": WordFilter(
            choices=[("csv", "csv"), ("ndjson", "ndjson")],
            method="leave_alone",
            help_text="`csv` unless said, or unless `Accept` is application/x-ndjson.",
        ),
    }
)
