"""The template of LLM meters, and providers' usage objects, as sent and as answered."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from metering.domain.llm_usage import UsageFormat
from vendor_api.serializers.base import Body, Shape
from vendor_api.serializers.common import capped_list
from vendor_api.serializers.fields import (
    AnyField,
    ChoiceField,
    QuantityField,
    TextField,
    TimeField,
    WholeNumberField,
)
from vendor_api.serializers.quotas import MeterShape


class LlmPriceBody(Body):
    """What tokens cost: of a model, a provider, both, or, with neither, of all else."""

    model = TextField(max_length=200, required=False, allow_null=True)
    provider = TextField(max_length=200, required=False, allow_null=True)
    input = QuantityField()
    output = QuantityField()
    cached_input = QuantityField(required=False, allow_null=True, help_text="That of the input unless given.")
    cache_write = QuantityField(required=False, allow_null=True, help_text="That of the input unless given.")
    reasoning = QuantityField(required=False, allow_null=True, help_text="That of the output unless given.")
    starts_at = TimeField(required=False, allow_null=True)
    ends_at = TimeField(required=False, allow_null=True)


class LlmMetersBody(Body):
    """Your prices, as your providers bill you or as you sell."""

    prices = capped_list(LlmPriceBody, at_most=200, required=True)
    currency = TextField(max_length=3, required=False, help_text="The workspace's unless given.")
    per = WholeNumberField(
        required=False, help_text="How many tokens a price is for: 1, 1000 or 1000000 (the default)."
    )
    prefix = TextField(max_length=32, required=False, allow_blank=True, help_text="Stands before each meter's code.")


class LlmMetersShape(Shape):
    """Five meters of tokens, and the cost meter derived from them."""

    meters = MeterShape(many=True)
    cost_meter = MeterShape()


class LlmUsageBody(Body):
    """A provider's usage object, as its answer carried it."""

    format = ChoiceField(choices=[each.value for each in UsageFormat])
    usage = AnyField(help_text="The provider's `usage`, or Gemini's `usageMetadata`.")
    id = TextField(max_length=200, help_text="Of the call, yours or the provider's: events are called after it.")
    model = TextField(max_length=200)
    provider = TextField(max_length=200, required=False, allow_null=True, help_text="That of the format unless given.")
    occurred_at = TimeField(required=False, allow_null=True)
    prefix = TextField(max_length=32, required=False, allow_blank=True, help_text="As the template was given it.")


class LlmEventShape(Shape):
    """An event as `usage` takes it."""

    id = serializers.CharField()
    meter = serializers.CharField()
    quantity = serializers.CharField()
    dimensions = serializers.DictField(child=serializers.CharField())
    occurred_at = TimeField(required=False)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        shown = super().to_representation(instance)
        return {name: value for name, value in shown.items() if value is not None}


class LlmEventsShape(Shape):
    """What to send to `usage`, by yourself or by the agent; nothing was recorded."""

    events = LlmEventShape(many=True)


LLM_METERS_EXAMPLE: dict[str, Any] = {
    "currency": "USD",
    "per": 1000000,
    "prices": [
        {"model": "large", "input": "3", "output": "15", "cached_input": "0.3", "cache_write": "3.75"},
        {"input": "0.5", "output": "1.5"},
    ],
}
LLM_USAGE_EXAMPLE: dict[str, Any] = {
    "format": "openai_chat",
    "id": "chatcmpl-7f3a",
    "model": "large",
    "usage": {
        "prompt_tokens": 1200,
        "completion_tokens": 330,
        "prompt_tokens_details": {"cached_tokens": 1000},
        "completion_tokens_details": {"reasoning_tokens": 130},
    },
}
