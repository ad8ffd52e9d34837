"""Licences, as sent and as answered."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common.ids import Prefix
from licenses.domain.enums import DisplayedStatus, LicenseKind, LicenseStatus, PlanRole
from licenses.domain.facts import LicenseFacts
from licenses.domain.license_times import displayed_status
from licenses.models import License
from vendor_api.serializers.base import Beside, Body, Shape
from vendor_api.serializers.common import (
    LevelRateLimitBody,
    LevelRateLimitShape,
    MetadataField,
    ResourceShape,
    capped_list,
    text_list,
)
from vendor_api.serializers.fields import (
    AnyField,
    ChoiceField,
    IdField,
    ReferenceField,
    TextField,
    TimeField,
    WholeNumberField,
)
from vendor_api.serializers.plans import MAX_PARTS, GrantValueField

MAX_ADD_ONS = 50


class NewCustomerBody(Body):
    """A customer by external id, made if there is none yet."""

    external_id = TextField(max_length=200)
    name = TextField(max_length=200, required=False, allow_blank=True)


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "description": "An id, or an external id."},
            {
                "type": "object",
                "description": "Made if there is no customer with this external id.",
                "properties": {"external_id": {"type": "string"}, "name": {"type": "string"}},
                "required": ["external_id"],
                "additionalProperties": False,
            },
        ]
    }
)
class CustomerReferenceField(AnyField):
    """A customer by id or external id, or one to be made if need be."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            return NewCustomerBody().run_validation(data)
        return ReferenceField().run_validation(data)


class LicenseGrantBody(Body):
    """A licence's own value for a feature, for ever or for a time."""

    feature = ReferenceField(help_text="Its id or code.")
    value = GrantValueField()
    starts_at = TimeField(required=False, allow_null=True)
    expires_at = TimeField(required=False, allow_null=True)


class LicenseBody(Body):
    """What a customer gets. All but the customer can be changed."""

    customer = CustomerReferenceField()
    plan = ReferenceField(help_text="Its id or code.")
    add_ons = text_list(max_length=200, at_most=MAX_ADD_ONS, help_text="Further plans, by id or code.")
    kind = ChoiceField(choices=[each.value for each in LicenseKind], required=False)
    starts_at = TimeField(required=False, allow_null=True, help_text="Null: now.")
    expires_at = TimeField(required=False, allow_null=True, help_text="Null: after the plan's term, if it has one.")
    grants = capped_list(LicenseGrantBody, at_most=MAX_PARTS)
    rate_limits = capped_list(LevelRateLimitBody)
    hold_limit = WholeNumberField(
        required=False, allow_null=True, help_text="Open holds at once, instead of the plan's."
    )
    metadata = MetadataField(required=False)


class LicenseGrantShape(Shape):
    """A licence's own value for a feature."""

    feature = serializers.CharField(source="feature.code")
    value = GrantValueField()
    starts_at = TimeField(allow_null=True)
    expires_at = TimeField(allow_null=True)


class LicenseShape(ResourceShape):
    """A licence. `status` is what holds now: what was decided, and where the clock stands."""

    id = IdField(Prefix.LICENSE)
    customer = IdField(Prefix.CUSTOMER, source="customer_id")
    plan = serializers.CharField()
    product = serializers.CharField()
    add_ons = serializers.ListField(child=serializers.CharField())
    kind = serializers.ChoiceField(choices=[each.value for each in LicenseKind])
    status = serializers.ChoiceField(choices=[each.value for each in DisplayedStatus])
    status_reason = serializers.CharField()
    starts_at = TimeField()
    expires_at = TimeField(allow_null=True)
    grace_until = TimeField(allow_null=True)
    grants = LicenseGrantShape(many=True)
    rate_limits = LevelRateLimitShape(many=True)
    hold_limit = serializers.IntegerField(allow_null=True)
    key_hint = serializers.CharField(allow_null=True, help_text="The end of its licence key.")
    metadata = MetadataField()
    suspended_at = TimeField(allow_null=True)
    revoked_at = TimeField(allow_null=True)
    archived_at = TimeField(allow_null=True)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        return super().to_representation(_with_consequences(instance, self.context["at"]))


def _with_consequences(license: License, at: datetime) -> Beside:
    """A licence with what follows from its plans and from the clock."""
    carried = list(license.carried_plans.all())
    base = next(each.plan for each in carried if each.role == PlanRole.BASE)
    facts = LicenseFacts(
        id=license.id,
        status=LicenseStatus(license.status),
        starts_at=license.starts_at,
        expires_at=license.expires_at,
        grace=timedelta(days=base.grace_days),
        trial=base.trial,
    )
    return Beside(
        license,
        plan=base.code,
        product=base.product.code,
        add_ons=[each.plan.code for each in carried if each.role == PlanRole.ADD_ON],
        status=displayed_status(facts, at).value,
        grace_until=facts.grace_until if base.grace_days else None,
        key_hint=license.key_hint or None,
    )


class IssuedLicenseShape(Shape):
    """A licence and its key, which is in this answer only; null for one that is carried signed."""

    license = LicenseShape()
    license_key = serializers.CharField(allow_null=True)


class RotatedLicenseShape(LicenseShape):
    """A licence and its new key, which is in this answer only."""

    license_key = serializers.CharField(allow_null=True)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        return super().to_representation(Beside(instance.license, license_key=instance.license_key))


LICENSE_EXAMPLE: dict[str, Any] = {
    "customer": {"external_id": "acme", "name": "Acme"},
    "plan": "pro",
    "kind": "both",
    "grants": [{"feature": "max_tools", "value": 99}],
    "metadata": {},
}
