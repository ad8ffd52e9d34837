"""Filters that an index answers."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter, DropdownFilter

from common.clock import real_clock

_SPANS = {
    "hour": ("The last hour", timedelta(hours=1)),
    "day": ("The last 24 hours", timedelta(days=1)),
    "week": ("The last 7 days", timedelta(days=7)),
    "month": ("The last 31 days", timedelta(days=31)),
}


class MadeFilter(DropdownFilter):
    """Rows by when they were made. A UUIDv7 begins with its time, so that the primary key answers this."""

    title = "when it was made"
    parameter_name = "made"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, label) for name, (label, _) in _SPANS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = _SPANS.get(self.value() or "")
        if chosen is None:
            return queryset
        since = real_clock().now() - chosen[1]
        return queryset.filter(pk__gte=UUID(int=int(since.timestamp() * 1000) << 80))


BY_TENANT = ("tenant", AutocompleteSelectFilter)


def by(field: str) -> tuple[str, Any]:
    """One of a field's choices."""
    return (field, ChoicesDropdownFilter)
