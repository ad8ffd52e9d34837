"""Usage: what is asked for and what is posted on behalf of agents and licences."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from common.ids import Prefix
from metering.domain.enums import QuotaMode, QuotaState, Scope
from metering.selectors.usage import UsageRow
from vendor_api.recording import Recorded
from vendor_api.serializers.base import Body, Shape
from vendor_api.serializers.fields import FilterField, IdField, MapField, QuantityField, TextField, TimeField
from vendor_api.serializers.quotas import PeriodField
from vendor_api.usage_events import MAX_EVENTS


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


class UsageEventBody(Body):
    """A fact: this much has happened to an agent or a licence. Ids are unique per licence: a repeat counts once."""

    id = TextField(max_length=255)
    meter = TextField(max_length=256, help_text="Its code or id.")
    quantity = QuantityField(required=False, allow_null=True, help_text="A count meter needs none.")
    occurred_at = TimeField(required=False, allow_null=True, help_text="When it first arrived, unless said.")
    dimensions = FilterField(required=False, allow_null=True)
    agent = TextField(max_length=256, required=False, allow_null=True)
    license = TextField(max_length=256, required=False, allow_null=True)
    corrects = TextField(max_length=255, required=False, allow_null=True, help_text="The event that this one changes.")


class UsageBody(Body):
    """One event by itself, or `events` with up to 1,000. `agent` or `license` may stand once, beside the events."""

    id = TextField(max_length=255, required=False)
    meter = TextField(max_length=256, required=False)
    quantity = QuantityField(required=False, allow_null=True)
    occurred_at = TimeField(required=False, allow_null=True)
    dimensions = FilterField(required=False, allow_null=True)
    agent = TextField(max_length=256, required=False, allow_null=True)
    license = TextField(max_length=256, required=False, allow_null=True)
    corrects = TextField(max_length=255, required=False, allow_null=True, help_text="The event that this one changes.")
    events = serializers.ListField(child=UsageEventBody(), max_length=MAX_EVENTS, required=False)


class UsageResultShape(Shape):
    """What became of one event."""

    id = serializers.CharField(allow_null=True, help_text="The event's own, where it could be read.")
    status = serializers.ChoiceField(choices=["recorded", "duplicate", "conflict", "rejected"])
    event_id = serializers.CharField(required=False)
    code = serializers.CharField(required=False)
    detail = serializers.CharField(required=False)
    flags = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="`not_counted`: its meter's filter leaves it out. `rate_missing`: a cost meter has no rate for it. "
        "`dimension_overflow`: a value counts as `__other__`.",
    )

    def to_representation(self, instance: dict[str, Any]) -> dict[str, Any]:
        # As on the agents' door: of a thousand results few have something to say.
        return {name: value for name, value in instance.items() if value or name == "id"}


class TouchedQuotaShape(Shape):
    """A quota that events counted on, as they left it."""

    id = IdField(Prefix.QUOTA, source="quota.id")
    meter = serializers.CharField(source="quota.meter_code")
    filter = FilterField(source="quota.filter")
    scope = serializers.ChoiceField(choices=[each.value for each in Scope], source="quota.scope.value")
    mode = serializers.ChoiceField(choices=[each.value for each in QuotaMode], source="quota.mode.value")
    period = PeriodField(source="quota.period.value")
    limit = QuantityField(source="quota.limit")
    top_ups = QuantityField()
    used = QuantityField()
    held = QuantityField()
    remaining = QuantityField()
    state = serializers.ChoiceField(choices=[each.value for each in QuotaState], source="state.value")
    resets_at = TimeField(allow_null=True)


class RecordedShape(Shape):
    """What became of each event, in order, and where the quotas of the meters concerned stand."""

    recorded = serializers.IntegerField(source="counts.recorded")
    duplicates = serializers.IntegerField(source="counts.duplicate")
    conflicts = serializers.IntegerField(source="counts.conflict")
    rejected = serializers.IntegerField(source="counts.rejected")
    results = UsageResultShape(many=True)
    quotas = TouchedQuotaShape(many=True)

    def to_representation(self, instance: Recorded) -> dict[str, Any]:
        return super().to_representation(instance)


USAGE_EXAMPLE: dict[str, Any] = {
    "agent": "agt_01h455vb4pex5vsknk084sn02q",
    "events": [
        {
            "id": "call-7f3a",
            "meter": "tokens",
            "quantity": "1532",
            "occurred_at": "2026-11-23T09:00:00Z",
            "dimensions": {"model": "large"},
        }
    ],
}
