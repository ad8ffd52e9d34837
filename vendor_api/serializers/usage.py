"""Usage: what is asked for and what is posted on behalf of agents and licences."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from metering.selectors.usage import UsageRow
from vendor_api.serializers.base import Shape
from vendor_api.serializers.fields import MapField, QuantityField, TimeField


class UsageRowShape(Shape):
    """What one group used in one bucket, or in its part inside the range."""

    start = TimeField()
    end = TimeField()
    group = MapField(help_text="By the names of `group_by`.")
    value = QuantityField()

    def to_representation(self, instance: UsageRow) -> dict[str, Any]:
        return super().to_representation(instance)


class UsageReportShape(Shape):
    """Rows by time, then group, without those in which nothing was recorded."""

    data = UsageRowShape(many=True, source="rows")  # type: ignore[assignment]
    total = QuantityField()
    next_cursor = serializers.CharField(allow_null=True, source="*")

    def to_representation(self, instance: Any) -> dict[str, Any]:
        return super().to_representation(instance) | {"next_cursor": None}
