"""What statements are asked for by."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from common.ids import Prefix
from vendor_api.filters.base import ListFilter, NameFilter, Query, TimeFilter, WordFilter


class StatementFilter(ListFilter):
    """Issued statements."""

    customer = NameFilter(
        field_name="customer", prefix=Prefix.CUSTOMER, code="external_id", help_text="Its id or external id."
    )
    period_after = TimeFilter(field_name="period_start", lookup_expr="gte", help_text="Its month begins then or later.")
    period_before = TimeFilter(field_name="period_start", lookup_expr="lt", help_text="Its month begins before.")


class StatementMonthFilter(Query):
    """One month."""

    period_start = TimeFilter(method="leave_alone", help_text="An instant of the month; the running one unless said.")

    format = WordFilter(
        choices=[("json", "json"), ("csv", "csv"), ("html", "html")],
        method="leave_alone",
        help_text="`json` unless said, or unless `Accept` is text/csv or text/html.",
    )

    def leave_alone(self, queryset: QuerySet[Any], _name: str, _value: Any) -> QuerySet[Any]:
        """A draft is no row."""
        return queryset
