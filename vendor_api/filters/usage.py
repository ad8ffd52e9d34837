"""What usage is asked for by."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import QuerySet

from common.errors import Invalid
from common.ids import Prefix
from metering.selectors.usage import UsageWindow
from vendor_api.filters.base import (
    IdFilter,
    NameFilter,
    NumberFilter,
    Query,
    SwitchFilter,
    TextFilter,
    TimeFilter,
    WordFilter,
)
from vendor_api.filters.resources import words

# Some names of the contract are words of the language, so these filters are listed instead of declared.
_FILTERS: dict[str, Any] = {
    "meter": TextFilter(required=True, method="leave_alone", help_text="Its id or code."),
    "from": TimeFilter(required=True, method="leave_alone", help_text="The beginning, inclusive."),
    "to": TimeFilter(method="leave_alone", help_text="The end, exclusive; now unless said."),
    "license": IdFilter(prefix=Prefix.LICENSE, method="leave_alone"),
    "agent": IdFilter(prefix=Prefix.AGENT, method="leave_alone"),
    "descendants": SwitchFilter(method="leave_alone", help_text="true: with all agents below `agent`."),
    "customer": NameFilter(
        field_name="customer", prefix=Prefix.CUSTOMER, method="leave_alone", help_text="Its id or external id."
    ),
    "window": WordFilter(choices=words(UsageWindow), method="leave_alone", help_text="One sum unless said."),
    "group_by": TextFilter(
        method="leave_alone", help_text="`agent`, `license`, `customer` and dimensions of the meter, by commas."
    ),
    "top": NumberFilter(
        method="leave_alone",
        help_text="With `group_by`: only so many groups, those with the most in the whole range; the others are one, "
        "named `__other__`.",
    ),
    "format": WordFilter(
        choices=[("json", "json"), ("csv", "csv"), ("ndjson", "ndjson")],
        method="leave_alone",
        help_text="`json` unless said, or unless `Accept` is text/csv or application/x-ndjson.",
    ),
    "timezone": TextFilter(method="leave_alone", help_text="Whose days; the workspace's unless said."),
}


class UsageFilter(Query):
    """One meter's usage in a stretch of time."""

    has_dimensions = True

    def leave_alone(self, queryset: QuerySet[Any], _name: str, _value: Any) -> QuerySet[Any]:
        """Usage comes from a statement of its own, not from a queryset."""
        return queryset

    def check(self) -> None:
        super().check()
        check_whose_descendants(self)


UsageFilter.base_filters.update(_FILTERS)


def check_whose_descendants(asked: Query) -> None:
    """Raise Invalid where agents below one are asked for, and not below which."""
    if asked.value("descendants") is not None and asked.value("agent") is None:
        raise Invalid.field("descendants", "agent_required", "Below which agent? Say it with agent.")


def timezone_named(name: str) -> ZoneInfo | None:
    """The zone of this IANA name; None for any other text."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return None
