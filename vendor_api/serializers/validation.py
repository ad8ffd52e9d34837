"""The answer to "is this licence good?", in the agents' door's words."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from common.ids import Prefix
from licenses.domain.enums import DisplayedStatus
from metering.domain.enums import QuotaMode, QuotaState, Scope
from vendor_api.serializers.base import Body, Shape
from vendor_api.serializers.common import text_list
from vendor_api.serializers.fields import FilterField, IdField, MapField, QuantityField, TextField, TimeField
from vendor_api.serializers.quotas import PeriodField


class ValidateBody(Body):
    """What to ask; all of it may be left out."""

    features = text_list(max_length=64, at_most=100)
    fingerprint = TextField(
        max_length=256, required=False, allow_null=True, help_text="Of the machine, where the plan demands activation."
    )
    product = TextField(max_length=64, required=False, allow_null=True)
    nonce = TextField(max_length=255, required=False, allow_null=True)


class ValidatedCustomerShape(Shape):
    """Whose licence it is."""

    id = IdField(Prefix.CUSTOMER)
    external_id = serializers.CharField(allow_null=True)


class ValidatedLicenseShape(Shape):
    """The licence, as the agents' door shows it."""

    id = IdField(Prefix.LICENSE)
    status = serializers.ChoiceField(choices=[each.value for each in DisplayedStatus])
    customer = ValidatedCustomerShape()
    plan = serializers.CharField()
    product = serializers.CharField()
    expires_at = TimeField(allow_null=True)
    grace_until = TimeField(allow_null=True)


class ReasonShape(Shape):
    """A reason or a warning, with the next step in its message, and details by name beside it."""

    code = serializers.CharField()
    message = serializers.CharField()
    blocks = serializers.BooleanField()
    retryable = serializers.BooleanField()
    until = TimeField(allow_null=True)

    def to_representation(self, instance: dict[str, Any]) -> dict[str, Any]:
        details: dict[str, Any] = instance["details"]
        return super().to_representation(instance) | details


class QuotaStandingShape(Shape):
    """A quota as it stands now."""

    id = IdField(Prefix.QUOTA, source="terms.id")
    meter = serializers.CharField(source="terms.meter_code")
    filter = FilterField(source="terms.filter")
    scope = serializers.ChoiceField(choices=[each.value for each in Scope], source="terms.scope.value")
    mode = serializers.ChoiceField(choices=[each.value for each in QuotaMode], source="terms.mode.value")
    period = PeriodField(source="terms.shown_period")
    limit = QuantityField(source="terms.limit")
    top_ups = QuantityField()
    carried_over = QuantityField()
    used = QuantityField()
    held = QuantityField()
    remaining = QuantityField()
    state = serializers.ChoiceField(choices=[each.value for each in QuotaState], source="state.value")
    resets_at = TimeField(allow_null=True)


class ValidationShape(Shape):
    """The decision with all of its reasons. An answer of no is a 200, too."""

    valid = serializers.BooleanField()
    code = serializers.CharField(help_text="The weightiest blocking reason, else `grace_period`, else `valid`.")
    codes = ReasonShape(many=True)
    license = ValidatedLicenseShape()
    agent = MapField(allow_null=True)
    features = MapField()
    quotas = QuotaStandingShape(many=True)
    activation = MapField(allow_null=True)
    valid_until = TimeField(allow_null=True)
    server_time = TimeField()
    nonce = serializers.CharField(allow_null=True)
