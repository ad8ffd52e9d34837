"""What is taken back: voids of usage, voids and new ratings of overages."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from common.ids import Prefix
from metering.domain.rating import RatedAmount
from metering.services.overage_records import lines_as_json
from vendor_api.serializers.base import Shape
from vendor_api.serializers.common import ReasonBody
from vendor_api.serializers.fields import IdField, MapField, QuantityField, SwitchField, TextField, TimeField
from vendor_api.serializers.records import OverageLineShape, OverageShape


class VoidUsageBody(ReasonBody):
    """Why, and of which license, where the id in the path is a caller's own."""

    license = TextField(max_length=256, required=False, allow_null=True, help_text="Where licenses share the id.")


class VoidUsageByIdBody(VoidUsageBody):
    """What is taken back."""

    id = TextField(max_length=255, help_text="An event (`evt_…`), or the id that the caller gave.")


class ReversedShape(Shape):
    """An event of what was voided, and the one that reverses it."""

    id = IdField(Prefix.EVENT, source="event.id")
    meter = serializers.CharField(source="event.meter.code")
    quantity = QuantityField(help_text="What was taken back: what adjustments had left of it.")
    void_id = IdField(Prefix.EVENT, source="void.id")


class VoidedUsageShape(Shape):
    """The event that was voided, the first if a call had several; `reversed` has all, computed amounts too."""

    id = IdField(Prefix.EVENT, source="event.id")
    client_id = serializers.CharField(source="event.client_id", help_text="The id that the caller gave.")
    status = serializers.ChoiceField(choices=["voided"])
    license = IdField(Prefix.LICENSE, source="event.license_id")
    agent = IdField(Prefix.AGENT, source="event.agent_id", allow_null=True)
    customer = IdField(Prefix.CUSTOMER, source="event.customer_id")
    meter = serializers.CharField(source="event.meter.code")
    quantity = QuantityField(source="event.quantity", help_text="As it was recorded.")
    dimensions = MapField(source="event.dimensions")
    occurred_at = TimeField(source="event.occurred_at")
    recorded_at = TimeField(source="event.recorded_at")
    voided_at = TimeField()
    reversed = ReversedShape(many=True)


class RerateBody(ReasonBody):
    """Why, and whether it is only tried."""

    dry_run = SwitchField(required=False, default=False, help_text="Say what it would come to, and write nothing.")


class RatingShape(Shape):
    """What a quantity costs: exact lines, and an amount rounded once."""

    amount = serializers.CharField()
    lines = OverageLineShape(many=True)

    def to_representation(self, instance: RatedAmount) -> dict[str, Any]:
        return {"amount": f"{instance.amount:f}", "lines": lines_as_json(instance)}


class ReratedShape(Shape):
    """A bill before and after, and the record of the difference; null where nothing changes."""

    overage = OverageShape(source="record")
    before = RatingShape()
    after = RatingShape()
    correction = OverageShape(allow_null=True)
    dry_run = serializers.BooleanField()


VOID_EXAMPLE: dict[str, Any] = {"id": "call-7f3a", "license": "lic_01h455vb4pex5vsknk084sn02q", "reason": "test run"}
REASON_EXAMPLE: dict[str, Any] = {"reason": "agreed with the customer"}
RERATE_EXAMPLE: dict[str, Any] = {"dry_run": True, "reason": "the price was ten times too high"}
