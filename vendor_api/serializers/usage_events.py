"""Raw events, and what one of them counted in."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from common.ids import Prefix
from metering.domain.enums import EventKind, Scope
from metering.selectors.events import CountedIn, EventTrail
from vendor_api.serializers.base import Shape
from vendor_api.serializers.fields import FilterField, IdField, MapField, QuantityField, TimeField
from vendor_api.serializers.quotas import PeriodField


class UsageEventShape(Shape):
    """A fact as it was recorded."""

    event_id = IdField(Prefix.EVENT, source="id")
    id = serializers.CharField(source="client_id", help_text="The id that the caller gave.")
    kind = serializers.ChoiceField(choices=[each.value for each in EventKind])
    meter = serializers.CharField(source="meter.code")
    quantity = QuantityField()
    occurred_at = TimeField()
    recorded_at = TimeField()
    agent = IdField(Prefix.AGENT, source="agent_id", allow_null=True)
    license = IdField(Prefix.LICENSE, source="license_id")
    customer = IdField(Prefix.CUSTOMER, source="customer_id")
    dimensions = MapField()
    hold = IdField(Prefix.HOLD, source="hold_id", allow_null=True)
    corrects = IdField(Prefix.EVENT, allow_null=True, help_text="The event that it takes back.")
    derived_from = IdField(Prefix.EVENT, allow_null=True, help_text="The event that it was worked out from.")
    flags = serializers.ListField(child=serializers.CharField())


_SUBJECTS = {
    Scope.AGENT: Prefix.AGENT,
    Scope.LICENSE: Prefix.LICENSE,
    Scope.CUSTOMER: Prefix.CUSTOMER,
    Scope.TENANT: Prefix.TENANT,
}


class CountedInShape(Shape):
    """A balance of a quota that the event counted in, as it stands."""

    scope = serializers.ChoiceField(choices=[each.value for each in Scope], source="balance.scope")
    subject = serializers.CharField(source="balance.subject_id", help_text="The id of who the quota is for.")
    filter = FilterField(source="balance.filter")
    period = PeriodField(source="balance.period")
    period_start = TimeField(source="balance.period_start")
    period_end = TimeField(source="balance.period_end", allow_null=True)
    used = QuantityField(source="balance.used")
    closed_at = TimeField(source="balance.closed_at", allow_null=True)
    late = serializers.BooleanField(help_text="Its own period was closed, so it counts in this one.")

    def to_representation(self, instance: CountedIn) -> dict[str, Any]:
        prefix = _SUBJECTS[Scope(instance.balance.scope)]
        shown = super().to_representation(instance)
        return shown | {"subject": IdField(prefix).to_representation(instance.balance.subject_id)}


class EventTrailShape(Shape):
    """An event with all that followed from it: why a bill is what it is."""

    event = UsageEventShape()
    counted_in = CountedInShape(many=True)
    reversed_by = UsageEventShape(many=True)
    derived = UsageEventShape(many=True)

    def to_representation(self, instance: EventTrail) -> dict[str, Any]:
        return super().to_representation(instance)
