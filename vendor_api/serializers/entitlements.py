"""What a licence grants, as answered."""

from __future__ import annotations

from rest_framework import serializers

from common.ids import Prefix
from licenses.domain.enums import FeatureKind, GrantSource
from licenses.domain.explaining import GrantEffect
from vendor_api.serializers.base import Shape
from vendor_api.serializers.fields import IdField, TimeField
from vendor_api.serializers.plans import GrantValueField


class ContributionShape(Shape):
    """A grant that has not ended, and what it does to the value now."""

    id = IdField(Prefix.GRANT)
    source = serializers.ChoiceField(choices=[each.value for each in GrantSource])  # type: ignore[assignment]
    plan = serializers.CharField(allow_null=True, help_text="The plan that grants it; null for the licence's own.")
    value = GrantValueField()
    starts_at = TimeField(allow_null=True)
    expires_at = TimeField(allow_null=True)
    effect = serializers.ChoiceField(
        choices=[each.value for each in GrantEffect],
        help_text="Grants of plans are overridden by the licence's own; what contributes adds up.",
    )


class EntitlementShape(Shape):
    """A feature as it holds now, and why."""

    feature = serializers.CharField()
    kind = serializers.ChoiceField(choices=[each.value for each in FeatureKind])
    value = GrantValueField()
    source = serializers.ChoiceField(choices=[each.value for each in GrantSource])  # type: ignore[assignment]
    plan = serializers.CharField(
        allow_null=True, help_text="The one plan that the value comes from; null for several, or for the licence's own."
    )
    until = TimeField(allow_null=True, help_text="When grants change it next.")
    narrowed_by = serializers.CharField(allow_null=True, help_text="The nearest agent whose subset leaves it out.")
    narrowed_by_all = serializers.ListField(
        child=serializers.CharField(), help_text="Every agent up the chain whose subset leaves it out, nearest first."
    )
    granted = GrantValueField(help_text="The value as the licence has it, whatever agents' subsets leave of it.")
    grants = ContributionShape(many=True)


class EntitlementsShape(Shape):
    """Every feature that holds, by code."""

    data = EntitlementShape(many=True)  # type: ignore[assignment]
