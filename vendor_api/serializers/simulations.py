"""A price that is only proposed, over real usage."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from common.ids import Prefix
from vendor_api.serializers.base import Body, Shape
from vendor_api.serializers.fields import (
    IdField,
    QuantityField,
    ReferenceField,
    TextField,
    TimeField,
    WholeNumberField,
)
from vendor_api.serializers.plans import PriceBody
from vendor_api.serializers.records import OverageLineShape

MAX_LINES = 1000


class SimulatePriceBody(Body):
    """The price, whose usage, and of when."""

    plan = ReferenceField(help_text="Its id or code: usage of the licenses that were billed by it.")
    price = PriceBody(help_text="As a plan's prices are written.")
    customer = ReferenceField(required=False, allow_null=True, help_text="Only this customer's licenses.")
    license = TextField(required=False, allow_null=True, help_text="Only this license.")
    period_start = TimeField(
        required=False, allow_null=True, help_text="An instant of the month whose periods are rated; last month's."
    )
    limit = WholeNumberField(min_value=1, max_value=MAX_LINES, required=False, help_text="200 unless said.")
    cursor = TextField(required=False, allow_null=True, help_text="`next_cursor` of the page before.")


class SimulatedTotalShape(Shape):
    """What the lines of this page come to, rounded amounts added up."""

    currency = serializers.CharField()
    present = serializers.CharField()
    proposed = serializers.CharField()
    difference = serializers.CharField()


class SimulatedLineShape(Shape):
    """One license's period by both prices. Without a price by now `present` is null."""

    license = IdField(Prefix.LICENSE)
    customer = IdField(Prefix.CUSTOMER)
    period_start = TimeField()
    period_end = TimeField(allow_null=True)
    used = QuantityField()
    included = QuantityField()
    quantity = QuantityField()
    present = serializers.CharField(allow_null=True)
    proposed = serializers.CharField()
    lines = OverageLineShape(many=True, help_text="The working of the proposed amount.")


class SimulationShape(Shape):
    """Lines in a fixed order, a page at a time."""

    data = SimulatedLineShape(many=True)  # type: ignore[assignment]
    currency = serializers.CharField()
    totals = SimulatedTotalShape(many=True)
    next_cursor = serializers.CharField(allow_null=True)


SIMULATE_EXAMPLE: dict[str, Any] = {
    "plan": "pro",
    "price": {"meter": "tokens", "currency": "USD", "model": "package", "package_size": "1000", "package_price": "2"},
    "period_start": "2026-10-01T00:00:00Z",
    "limit": 200,
}
