"""Top-ups, as sent and as answered."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from common.ids import Prefix
from metering.domain.enums import Scope, TopUpOrigin, TopUpState
from metering.domain.numbers import EXACT
from metering.models import TopUp
from metering.selectors.top_ups import state_of, subject_of
from vendor_api.serializers.base import Beside, Body
from vendor_api.serializers.common import MetadataField, ResourceShape
from vendor_api.serializers.fields import (
    ChoiceField,
    IdField,
    QuantityField,
    ReferenceField,
    TextField,
    TimeField,
    WholeNumberField,
)
from vendor_api.serializers.quotas import OnField


class TopUpBody(Body):
    """More of a quota, for one subject, for a time or for ever."""

    quota = ReferenceField(help_text="Its id; also that of a plan's quota.")
    on = OnField(
        required=False,
        allow_null=True,
        help_text="For whom, by the quota's scope; it may be left out where the quota is on one thing.",
    )
    amount = QuantityField()
    starts_at = TimeField(required=False, allow_null=True, help_text="Now, if left out.")
    expires_at = TimeField(required=False, allow_null=True, help_text="It is gone at that instant; null: never.")
    priority = WholeNumberField(required=False, help_text="The smaller number is used up first; 0 unless said.")
    origin = ChoiceField(choices=[each.value for each in TopUpOrigin], required=False, help_text="Given unless said.")
    reference = TextField(max_length=255, required=False, allow_blank=True, help_text="Such as an order number.")
    metadata = MetadataField(required=False)


class TopUpShape(ResourceShape):
    """A top-up: `used` is what it has covered, `remaining` what it still can, whatever its state."""

    id = IdField(Prefix.TOP_UP)
    quota = IdField(Prefix.QUOTA, source="quota_id")
    meter = serializers.CharField(source="quota.meter.code")
    scope = serializers.ChoiceField(choices=[each.value for each in Scope])
    on = OnField()
    amount = QuantityField()
    used = QuantityField()
    remaining = QuantityField(help_text="0 once it has expired or was voided.")
    state = serializers.ChoiceField(choices=[each.value for each in TopUpState])
    starts_at = TimeField()
    expires_at = TimeField(allow_null=True)
    priority = serializers.IntegerField()
    origin = serializers.ChoiceField(choices=[each.value for each in TopUpOrigin])
    reference = serializers.CharField()
    metadata = MetadataField()
    voided_at = TimeField(allow_null=True)

    def to_representation(self, instance: TopUp) -> dict[str, Any]:
        state = state_of(instance, self.context["at"])
        over = state in (TopUpState.EXPIRED, TopUpState.VOIDED)
        remaining = 0 if over else EXACT.subtract(instance.amount, instance.used)
        beside = Beside(instance, on=subject_of(instance), state=state.value, remaining=remaining)
        return super().to_representation(beside)


TOP_UP_EXAMPLE: dict[str, Any] = {
    "quota": "quo_01h455vb4pex5vsknk084sn02q",
    "on": {"license": "lic_01h455vb4pex5vsknk084sn02q"},
    "amount": "5000",
    "expires_at": "2026-12-31T00:00:00Z",
    "priority": 0,
    "origin": "bought",
    "reference": "order-1042",
}
