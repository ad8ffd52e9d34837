"""Parts that several resources share: metadata, rate limits, reasons, empty bodies."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common.canonical import canonical_json
from common.text import TextError, check_text
from licenses.domain.enums import LimitLevel
from tenants.services.fields import MAX_NETWORKS
from vendor_api.serializers.base import Body, Shape
from vendor_api.serializers.fields import ChoiceField, TextField, TimeField, WholeNumberField

MAX_METADATA_KEYS: Final = 50
MAX_METADATA_BYTES: Final = 16 * 1024
MAX_METADATA_NAME: Final = 200
MAX_RATE_LIMITS: Final = 20
LONGEST_WINDOW: Final = 366 * 24 * 3600


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
        "maxProperties": MAX_METADATA_KEYS,
        "examples": [{"team": "search"}],
    }
)
class MetadataField(serializers.Field[dict[str, Any], Any, dict[str, Any], Any]):
    """The vendor's own notes: a flat map of at most 50 keys and 16 KiB."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError("Expected an object.", code="wrong_type")
        if len(data) > MAX_METADATA_KEYS:
            raise serializers.ValidationError(f"At most {MAX_METADATA_KEYS} keys.", code="too_many")
        metadata = {self._name(name): self._value(value) for name, value in data.items()}
        if len(canonical_json(metadata)) > MAX_METADATA_BYTES:
            raise serializers.ValidationError("At most 16 KiB.", code="too_long")
        return metadata

    def to_representation(self, value: dict[str, Any]) -> dict[str, Any]:
        return value

    def _name(self, name: str) -> str:
        try:
            return check_text(name, max_length=MAX_METADATA_NAME)
        except TextError as error:
            raise serializers.ValidationError(error.detail, code=error.code) from None

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            try:
                return check_text(value, max_length=MAX_METADATA_BYTES, multiline=True)
            except TextError as error:
                raise serializers.ValidationError(error.detail, code=error.code) from None
        number = float(value) if isinstance(value, Decimal) else value
        if number is None or isinstance(number, bool) or _is_storable(number):
            return number
        raise serializers.ValidationError("A value is a text, a number, true, false or null.", code="not_flat")


def _is_storable(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and abs(value) < 10**30


class RateLimitBody(Body):
    """At most `limit` calls in `window` seconds, `burst` of them at once (as many as `limit` unless said)."""

    limit = WholeNumberField(min_value=1)
    window = WholeNumberField(min_value=1, max_value=LONGEST_WINDOW, help_text="Seconds.")
    burst = WholeNumberField(min_value=1, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs.setdefault("burst", attrs["limit"])
        return attrs


class LevelRateLimitBody(RateLimitBody):
    """A rate limit for each agent, or for the whole licence."""

    level = ChoiceField(choices=[LimitLevel.AGENT.value, LimitLevel.LICENSE.value])


class RateLimitShape(Shape):
    """A rate limit."""

    limit = serializers.IntegerField()
    window = serializers.IntegerField()
    burst = serializers.IntegerField()

    def to_representation(self, instance: dict[str, Any]) -> dict[str, Any]:
        return {
            "limit": instance["limit"],
            "window": instance["window"],
            "burst": instance.get("burst") or instance["limit"],
        }


class LevelRateLimitShape(RateLimitShape):
    """A rate limit and whom it counts for."""

    level = serializers.CharField()

    def to_representation(self, instance: dict[str, Any]) -> dict[str, Any]:
        return {"level": instance.get("level", LimitLevel.AGENT.value)} | super().to_representation(instance)


def capped_list(body: type[Body], *, at_most: int = MAX_RATE_LIMITS, **options: Any) -> serializers.ListField:
    """A list of objects; it may be left out."""
    options.setdefault("required", False)
    return serializers.ListField(child=body(), max_length=at_most, **options)


def text_list(*, max_length: int, at_most: int, **options: Any) -> serializers.ListField:
    """A list of texts; it may be left out."""
    options.setdefault("required", False)
    return serializers.ListField(child=TextField(max_length=max_length), max_length=at_most, **options)


def networks_field() -> serializers.ListField:
    """From where a key may be used."""
    return text_list(
        max_length=64,
        at_most=MAX_NETWORKS,
        help_text="From where it may be used: networks such as `192.0.2.0/24` or `2001:db8::/32`; none: from anywhere.",
    )


class ReasonBody(Body):
    """Why; it is kept with the thing and in the audit trail."""

    reason = TextField(max_length=500, required=False, allow_null=True, allow_blank=True, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return attrs | {"reason": attrs.get("reason") or ""}


class EmptyBody(Body):
    """Nothing is asked."""


class ResourceShape(Shape):
    """What every resource has."""

    created_at = TimeField()
    updated_at = TimeField()

    def get_fields(self) -> dict[str, Any]:
        # What a base class declares comes first; these two are read last.
        fields = super().get_fields()
        return fields | {name: fields.pop(name) for name in ("created_at", "updated_at")}
