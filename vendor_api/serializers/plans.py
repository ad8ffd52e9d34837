"""Plans with their grants, quotas and prices, as sent and as answered."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common.ids import Prefix
from licenses.domain.activations import MAX_LEASE
from licenses.domain.enums import LapsePolicy
from licenses.services.plans import MAX_NOTICE_DAYS, MAX_NOTICES
from metering.domain.enums import PriceModel
from vendor_api.serializers.base import Beside, Body, Shape
from vendor_api.serializers.common import (
    LevelRateLimitBody,
    LevelRateLimitShape,
    MetadataField,
    ResourceShape,
    capped_list,
)
from vendor_api.serializers.fields import (
    AnyField,
    ChoiceField,
    CodeField,
    FilterField,
    IdField,
    QuantityField,
    ReferenceField,
    SwitchField,
    TextField,
    TimeField,
    WholeNumberField,
)
from vendor_api.serializers.quotas import PlanQuotaBody, QuotaTermsShape
from vendor_api.serializers.runaway import RULES_EXAMPLE, RunawayRuleShape, rules_field

MAX_PARTS = 200


@extend_schema_field(
    {
        "oneOf": [
            {"type": "boolean"},
            {"type": ["number", "string"]},
            {"type": "array", "items": {"type": "string"}},
        ],
        "description": "True or false of a switch, a number of a limit, a list of a choice's values.",
    }
)
class GrantValueField(AnyField):
    """A feature's value; which kinds make sense, the feature says."""


class GrantBody(Body):
    """A plan's value for a feature."""

    feature = ReferenceField(help_text="Its id or code.")
    value = GrantValueField()


class GrantShape(Shape):
    """A plan's value for a feature."""

    feature = serializers.CharField(source="feature.code")
    value = GrantValueField()


class TermBody(Body):
    """A length of time on the calendar; years and months come first, then days."""

    years = WholeNumberField(required=False, max_value=1000)
    months = WholeNumberField(required=False, max_value=12000)
    days = WholeNumberField(required=False, max_value=366000)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not any(attrs.values()):
            raise serializers.ValidationError("A term is at least a day, a month or a year.", code="invalid")
        return {unit: length for unit, length in attrs.items() if length}


class TermShape(Shape):
    """A length of time on the calendar: only the units that it has."""

    years = serializers.IntegerField(required=False)
    months = serializers.IntegerField(required=False)
    days = serializers.IntegerField(required=False)

    def to_representation(self, instance: dict[str, int]) -> dict[str, int]:
        return {unit: instance[unit] for unit in ("years", "months", "days") if instance.get(unit)}


class TierBody(Body):
    """A step of a graduated or volume price, up to and including `up_to` units; null: without end."""

    up_to = QuantityField(allow_null=True)
    unit_price = QuantityField(required=False)
    flat_fee = QuantityField(required=False)


class PriceBody(Body):
    """What a plan charges above its soft licence quota on the same meter and filter."""

    meter = ReferenceField(help_text="Its id or code.")
    currency = TextField(max_length=3, required=False)
    model = ChoiceField(choices=[each.value for each in PriceModel])
    unit_price = QuantityField(required=False, allow_null=True)
    package_size = QuantityField(required=False, allow_null=True)
    package_price = QuantityField(required=False, allow_null=True)
    tiers = capped_list(TierBody, at_most=100)
    included_units = QuantityField(required=False, allow_null=True)
    minimum = QuantityField(required=False, allow_null=True)
    maximum = QuantityField(required=False, allow_null=True)
    filter = FilterField(required=False, allow_null=True)
    starts_at = TimeField(required=False, allow_null=True)


class TierShape(Shape):
    """A step of a price."""

    up_to = QuantityField(allow_null=True)
    unit_price = QuantityField()
    flat_fee = QuantityField()

    def to_representation(self, instance: dict[str, Any]) -> dict[str, Any]:
        return super().to_representation({"up_to": None, "unit_price": 0, "flat_fee": 0} | instance)


class PriceShape(Shape):
    """A price."""

    id = IdField(Prefix.PRICE)
    meter = serializers.CharField(source="meter.code")
    filter = FilterField()
    currency = serializers.CharField()
    model = serializers.ChoiceField(choices=[each.value for each in PriceModel])
    unit_price = QuantityField(allow_null=True)
    package_size = QuantityField(allow_null=True)
    package_price = QuantityField(allow_null=True)
    tiers = TierShape(many=True)
    included_units = QuantityField()
    minimum = QuantityField(allow_null=True)
    maximum = QuantityField(allow_null=True)
    starts_at = TimeField(allow_null=True)


class PlanBody(Body):
    """What a licence promises, and what it costs to go beyond."""

    code = CodeField()
    name = TextField(max_length=200)
    product = ReferenceField(help_text="Its id or code.")
    term = TermBody(required=False, allow_null=True)
    trial = SwitchField(required=False, help_text="Whether its licenses are shown as trials.")
    grace_days = WholeNumberField(required=False, max_value=36600)
    expiry_notices = serializers.ListField(
        child=WholeNumberField(min_value=1, max_value=MAX_NOTICE_DAYS),
        max_length=MAX_NOTICES,
        required=False,
        help_text="So many days before a license expires, `license.expiring` is sent.",
    )
    activation_limit = WholeNumberField(required=False, allow_null=True)
    activation_required = SwitchField(
        required=False, help_text="Whether `validate` and `authorize` ask for an activation."
    )
    activation_lease = WholeNumberField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MAX_LEASE,
        help_text="Seconds that an activation lives without a heartbeat; null is for good.",
    )
    lapse_policy = ChoiceField(
        choices=[each.value for each in LapsePolicy],
        required=False,
        help_text="What a lapsed activation means where one is required.",
    )
    agent_limit = WholeNumberField(required=False, allow_null=True)
    hold_limit = WholeNumberField(required=False, allow_null=True, help_text="Open holds at once, of a whole license.")
    token_ttl = WholeNumberField(required=False, min_value=1)
    rate_limits = capped_list(LevelRateLimitBody)
    grants = capped_list(GrantBody, at_most=MAX_PARTS)
    quotas = capped_list(PlanQuotaBody, at_most=MAX_PARTS)
    prices = capped_list(PriceBody, at_most=MAX_PARTS)
    runaway = rules_field(help_text="Rules of the runaway guard for each agent under its licenses; `[]`: none.")
    metadata = MetadataField(required=False)


class PlanShape(ResourceShape):
    """A plan."""

    id = IdField(Prefix.PLAN)
    code = serializers.CharField()
    name = serializers.CharField()
    product = serializers.CharField(source="product.code")
    term = TermShape(allow_null=True)
    trial = serializers.BooleanField()
    grace_days = serializers.IntegerField()
    expiry_notices = serializers.ListField(child=serializers.IntegerField())
    activation_limit = serializers.IntegerField(allow_null=True)
    activation_required = serializers.BooleanField()
    activation_lease = serializers.IntegerField(allow_null=True)
    lapse_policy = serializers.ChoiceField(choices=[each.value for each in LapsePolicy])
    agent_limit = serializers.IntegerField(allow_null=True)
    hold_limit = serializers.IntegerField(allow_null=True)
    token_ttl = serializers.IntegerField()
    rate_limits = LevelRateLimitShape(many=True)
    grants = GrantShape(many=True)
    quotas = QuotaTermsShape(many=True)
    prices = PriceShape(many=True)
    runaway = RunawayRuleShape(many=True)
    metadata = MetadataField()
    archived_at = TimeField(allow_null=True)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        rules = [rule for policy in instance.runaway_policies.all() for rule in policy.rules]
        return super().to_representation(Beside(instance, runaway=rules))


PLAN_EXAMPLE: dict[str, Any] = {
    "code": "pro",
    "name": "Pro",
    "product": "researcher",
    "term": {"months": 12},
    "grace_days": 7,
    "agent_limit": 50,
    "rate_limits": [{"level": "agent", "limit": 600, "window": 60, "burst": 600}],
    "grants": [{"feature": "models", "value": ["small", "large"]}, {"feature": "web_search", "value": True}],
    "quotas": [{"meter": "tokens", "limit": "1000000", "period": "month", "mode": "soft", "scope": "license"}],
    "prices": [{"meter": "tokens", "currency": "USD", "model": "per_unit", "unit_price": "0.000002"}],
    "runaway": RULES_EXAMPLE,
}
