"""Meters and quotas, as sent and as answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common.ids import Prefix, encode_id
from common.quantities import format_quantity
from metering.domain.enums import Aggregation, Anchor, DimensionType, Period, QuotaMode, QuotaState, Scope
from metering.models import Quota
from metering.selectors.meters import rate_card_of
from metering.services.meter_fields import MAX_VALUES
from vendor_api.serializers.base import Beside, Body, Shape
from vendor_api.serializers.common import ResourceShape, capped_list, text_list
from vendor_api.serializers.fields import (
    AnyField,
    ChoiceField,
    CodeField,
    FilterField,
    IdField,
    QuantityField,
    ReferenceField,
    TextField,
    TimeField,
    WholeNumberField,
)

_PERIODS = [period.value for period in Period if period is not Period.ROLLING]
_PERIOD_SCHEMA: dict[str, Any] = {
    "oneOf": [
        {"type": "string", "enum": _PERIODS},
        {
            "type": "object",
            "properties": {"rolling": {"type": "integer", "minimum": 1, "description": "Seconds."}},
            "required": ["rolling"],
            "additionalProperties": False,
        },
    ]
}
_ON_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Exactly one of them.",
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {
        "tenant": {"type": "boolean", "const": True},
        "customer": {"type": "string"},
        "license": {"type": "string"},
        "agent": {"type": "string"},
        "plan": {"type": "string", "description": "In answers only: quotas of plans are set with the plan."},
    },
}


@extend_schema_field(_PERIOD_SCHEMA)
class PeriodField(AnyField):
    """A calendar period by its name, or a rolling window."""


@extend_schema_field(
    {
        "oneOf": [
            {"type": "boolean"},
            {
                "type": "object",
                "properties": {"max": {"type": "string", "description": "At most so much of it."}},
                "required": ["max"],
                "additionalProperties": False,
            },
        ]
    }
)
class CarryOverField(AnyField):
    """Whether what is left of a period goes into the next, and how much of it at most."""


@extend_schema_field(_ON_SCHEMA)
class OnField(AnyField):
    """What a quota is set on."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise serializers.ValidationError("Expected an object.", code="wrong_type")
        return data


class RateCardRowBody(Body):
    """The price of a unit of another meter in [starts_at, ends_at); without dimensions it catches all."""

    meter = ReferenceField()
    dimensions = FilterField(required=False)
    unit_price = QuantityField(help_text="Of one unit, in the cost meter's currency.")
    starts_at = TimeField(required=False, allow_null=True)
    ends_at = TimeField(required=False, allow_null=True)


_DIMENSION_SCHEMA: dict[str, Any] = {
    "oneOf": [
        {"type": "string", "maxLength": 64},
        {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 64},
                "type": {"type": "string", "enum": [each.value for each in DimensionType]},
                "max_values": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MAX_VALUES,
                    "description": "Values beyond the first so many count as `__other__`.",
                },
            },
            "required": ["name"],
            "additionalProperties": False,
        },
    ]
}


@extend_schema_field(_DIMENSION_SCHEMA)
class DimensionField(AnyField):
    """A dimension by its name, or with its type and a limit to its values."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str | Mapping):
            raise serializers.ValidationError("Expected a name or an object.", code="wrong_type")
        return data


class MeterBody(Body):
    """Something that is counted; with a rate card, in money derived from other meters."""

    code = CodeField()
    name = TextField(max_length=200, required=False)
    unit = TextField(max_length=32, required=False)
    aggregation = ChoiceField(choices=[each.value for each in Aggregation], required=False)
    dimensions = serializers.ListField(child=DimensionField(), max_length=100, required=False)
    event_types = text_list(max_length=200, at_most=20)
    value_from = TextField(
        max_length=64, required=False, allow_null=True, allow_blank=True, help_text="A dimension that gives the value."
    )
    filter = FilterField(required=False, allow_null=True, help_text="Only events with these dimension values count.")
    rate_card = capped_list(RateCardRowBody, at_most=1000, allow_null=True)


class RateCardRowShape(Shape):
    """A row of a rate card."""

    meter = serializers.CharField(source="source.code")
    dimensions = FilterField()
    unit_price = QuantityField()
    starts_at = TimeField(allow_null=True)
    ends_at = TimeField(allow_null=True)


class MeterShape(ResourceShape):
    """A meter."""

    id = IdField(Prefix.METER)
    code = serializers.CharField()
    name = serializers.CharField()
    unit = serializers.CharField()
    aggregation = serializers.ChoiceField(choices=[each.value for each in Aggregation])
    dimensions = serializers.ListField(child=DimensionField())
    event_types = serializers.ListField(child=serializers.CharField())
    value_from = serializers.CharField(allow_null=True)
    filter = FilterField()
    rate_card = RateCardRowShape(many=True, allow_null=True)
    archived_at = TimeField(allow_null=True)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        shown = super().to_representation(Beside(instance, rate_card=rate_card_of(instance)))
        shown["value_from"] = shown["value_from"] or None
        return shown


class PlanQuotaBody(Body):
    """A quota of a plan: it holds for each licence, customer or agent under it, by `scope`."""

    meter = ReferenceField(help_text="Its id or code.")
    limit = QuantityField()
    period = PeriodField()
    mode = ChoiceField(choices=[each.value for each in QuotaMode], required=False)
    scope = ChoiceField(choices=[Scope.LICENSE.value, Scope.CUSTOMER.value, Scope.AGENT.value], required=False)
    filter = FilterField(required=False, allow_null=True)
    anchor = ChoiceField(choices=[each.value for each in Anchor], required=False)
    ceiling = QuantityField(required=False, allow_null=True)
    thresholds = serializers.ListField(child=WholeNumberField(), max_length=100, required=False, allow_null=True)
    carry_over = CarryOverField(required=False, allow_null=True)


class QuotaBody(Body):
    """A limit on a meter for one agent, licence, customer or the whole workspace."""

    on = OnField()
    meter = ReferenceField(help_text="Its id or code.")
    limit = QuantityField()
    period = PeriodField()
    mode = ChoiceField(choices=[each.value for each in QuotaMode], required=False, help_text="Hard unless said.")
    filter = FilterField(required=False, allow_null=True)
    anchor = ChoiceField(choices=[each.value for each in Anchor], required=False)
    ceiling = QuantityField(required=False, allow_null=True)
    thresholds = serializers.ListField(child=WholeNumberField(), max_length=100, required=False, allow_null=True)
    carry_over = CarryOverField(required=False, allow_null=True)


class QuotaTermsShape(Shape):
    """What a quota allows."""

    id = IdField(Prefix.QUOTA)
    meter = serializers.CharField(source="meter.code")
    filter = FilterField()
    scope = serializers.ChoiceField(choices=[each.value for each in Scope])
    mode = serializers.ChoiceField(choices=[each.value for each in QuotaMode])
    limit = QuantityField()
    ceiling = QuantityField(allow_null=True)
    period = PeriodField()
    anchor = serializers.ChoiceField(choices=[each.value for each in Anchor])
    thresholds = serializers.ListField(child=serializers.IntegerField())
    carry_over = CarryOverField()

    def to_representation(self, instance: Any) -> dict[str, Any]:
        shown = super().to_representation(instance)
        if instance.period == Period.ROLLING:
            shown["period"] = {"rolling": instance.rolling_seconds}
        if instance.carry_over and instance.carry_over_limit is not None:
            shown["carry_over"] = {"max": format_quantity(instance.carry_over_limit)}
        return shown


class QuotaShape(QuotaTermsShape):
    """A quota."""

    on = OnField(source="*")
    archived_at = TimeField(allow_null=True)
    created_at = TimeField()
    updated_at = TimeField()

    def to_representation(self, instance: Any) -> dict[str, Any]:
        return super().to_representation(instance) | {"on": owner_of(instance)}


_UNPLACED = dict.fromkeys(("subject", "used", "held", "top_ups", "carried_over", "remaining", "state", "resets_at"))


class ListedQuotaShape(QuotaShape):
    """A quota in a list; how it stands is null unless the list asks for one agent, licence or customer."""

    subject = OnField(allow_null=True)
    used = QuantityField(allow_null=True)
    held = QuantityField(allow_null=True)
    top_ups = QuantityField(allow_null=True)
    carried_over = QuantityField(allow_null=True)
    remaining = QuantityField(allow_null=True)
    state = serializers.ChoiceField(choices=[each.value for each in QuotaState], allow_null=True)
    resets_at = TimeField(allow_null=True)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        return super().to_representation(Beside(instance, **_UNPLACED) if isinstance(instance, Quota) else instance)


def owner_of(quota: Any) -> dict[str, Any]:
    """What a quota is set on, as `on` says it."""
    if quota.plan is not None:
        return {"plan": quota.plan.code}
    for name, prefix in (("agent", Prefix.AGENT), ("license", Prefix.LICENSE), ("customer", Prefix.CUSTOMER)):
        owner_id = getattr(quota, f"{name}_id")
        if owner_id is not None:
            return {name: encode_id(prefix, owner_id)}
    return {"tenant": True}


METER_EXAMPLE: dict[str, Any] = {
    "code": "tokens",
    "name": "Tokens",
    "unit": "token",
    "aggregation": "sum",
    "dimensions": ["model"],
    "event_types": ["tokens"],
}
QUOTA_EXAMPLE: dict[str, Any] = {
    "on": {"agent": "agt_01h455vb4pex5vsknk084sn02q"},
    "meter": "tokens",
    "filter": {"model": "large"},
    "limit": "50000",
    "period": "day",
    "mode": "hard",
}
