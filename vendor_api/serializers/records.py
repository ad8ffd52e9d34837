"""What is only read: overages, audit entries, holds, jobs."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from common.ids import Prefix, encode_id
from metering.domain.enums import HoldStatus, OnExcess, OverageStatus, Scope
from metering.domain.money import round_money
from tenants.domain.enums import ActorKind, JobStatus
from vendor_api.serializers.base import Beside, Body, Shape
from vendor_api.serializers.common import ResourceShape
from vendor_api.serializers.fields import IdField, MapField, QuantityField, TimeField
from vendor_api.serializers.quotas import OnField

_PREFIX_OF_SCOPE = {Scope.AGENT: Prefix.AGENT, Scope.LICENSE: Prefix.LICENSE, Scope.CUSTOMER: Prefix.CUSTOMER}


class OverageLineShape(Shape):
    """One step of the working, exact."""

    description = serializers.CharField()
    quantity = QuantityField()
    unit_price = QuantityField(allow_null=True)
    amount = QuantityField()

    def to_representation(self, instance: dict[str, Any]) -> dict[str, Any]:
        return super().to_representation({"unit_price": None} | instance)


class OverageShape(ResourceShape):
    """A priced excess of one quota in one period. `amount` is rounded once, `lines` are exact."""

    id = IdField(Prefix.OVERAGE)
    quota = IdField(Prefix.QUOTA, source="quota_id")
    meter = serializers.CharField(source="meter.code")
    on = OnField(source="*")
    customer = IdField(Prefix.CUSTOMER, source="customer_id")
    period_start = TimeField()
    period_end = TimeField(allow_null=True)
    status = serializers.ChoiceField(choices=[each.value for each in OverageStatus])
    limit = QuantityField()
    used = QuantityField()
    quantity = QuantityField()
    amount = serializers.CharField(help_text="With the currency's minor digits: `0.00`.")
    currency = serializers.CharField()
    lines = OverageLineShape(many=True)
    status_reason = serializers.CharField()
    corrects = IdField(Prefix.OVERAGE, source="corrects_id", allow_null=True)
    finalized_at = TimeField(allow_null=True)
    voided_at = TimeField(allow_null=True)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        scope = Scope(instance.scope)
        prefix = _PREFIX_OF_SCOPE.get(scope)
        return super().to_representation(instance) | {
            "on": {scope.value: encode_id(prefix, instance.subject_id) if prefix else True},
            "amount": f"{round_money(instance.amount, instance.currency):f}",
        }


class ActorShape(Shape):
    """Who did it."""

    kind = serializers.ChoiceField(choices=[each.value for each in ActorKind])
    id = serializers.CharField(allow_null=True)
    name = serializers.CharField(allow_null=True)


class TargetShape(Shape):
    """What it was done to."""

    kind = serializers.CharField()
    id = serializers.CharField()


class HexField(serializers.CharField):
    """Bytes, in hexadecimal."""

    def to_representation(self, value: Any) -> str:
        return bytes(value).hex()


class AuditEntryShape(Shape):
    """Who changed what, and its place in the hash chain."""

    id = IdField(Prefix.AUDIT)
    sequence = serializers.IntegerField(source="seal.sequence")
    action = serializers.CharField()
    actor = ActorShape()
    target = TargetShape()
    changes = MapField(help_text="By field: `[before, after]`.")
    reason = serializers.CharField()
    request_id = serializers.CharField(allow_null=True)
    address = serializers.CharField(allow_null=True)
    at = TimeField()
    hash = HexField(source="seal.hash")
    previous_hash = HexField(source="seal.previous_hash")

    def to_representation(self, instance: Any) -> dict[str, Any]:
        actor = {"kind": instance.actor_kind, "id": instance.actor_id or None, "name": instance.actor_name or None}
        target = {"kind": instance.target_kind, "id": instance.target_id}
        shown = super().to_representation(Beside(instance, actor=actor, target=target))
        return shown | {"request_id": instance.request_id or None, "address": instance.address or None}


class HeldUsageShape(Shape):
    """What a hold reserves."""

    meter = serializers.CharField()
    quantity = QuantityField()
    dimensions = MapField()

    def to_representation(self, instance: dict[str, Any]) -> dict[str, Any]:
        return super().to_representation({"dimensions": {}} | instance)


class HoldShape(ResourceShape):
    """A reservation. One whose time is over is `expired`, though it can be settled for a while."""

    id = IdField(Prefix.HOLD)
    client_id = serializers.CharField(help_text="The id that the caller gave.")
    license = IdField(Prefix.LICENSE, source="license_id")
    customer = IdField(Prefix.CUSTOMER, source="customer_id")
    agent = IdField(Prefix.AGENT, source="agent_id", allow_null=True)
    status = serializers.ChoiceField(choices=[each.value for each in HoldStatus])
    on_excess = serializers.ChoiceField(choices=[each.value for each in OnExcess])
    usage = HeldUsageShape(many=True)
    lease = serializers.BooleanField()
    expires_at = TimeField()
    closed_at = TimeField(allow_null=True)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        shown = super().to_representation(instance)
        if instance.status == HoldStatus.OPEN and instance.expires_at <= self.context["at"]:
            shown["status"] = HoldStatus.EXPIRED.value
        return shown


class JobErrorShape(Shape):
    """Why a job failed."""

    code = serializers.CharField()
    detail = serializers.CharField()

    def to_representation(self, instance: dict[str, Any]) -> dict[str, Any]:
        return super().to_representation({"code": "failed", "detail": ""} | instance)


class JobShape(ResourceShape):
    """Longer work, to be polled until it is `succeeded` or `failed`."""

    id = IdField(Prefix.JOB)
    kind = serializers.CharField()
    status = serializers.ChoiceField(choices=[each.value for each in JobStatus])
    input = MapField()
    progress = MapField()
    result = MapField(allow_null=True)
    error = JobErrorShape(allow_null=True)
    started_at = TimeField(allow_null=True)
    finished_at = TimeField(allow_null=True)


class ClosePeriodsBody(Body):
    """Finalise the periods that ended before this time, without waiting for the grace."""

    before = TimeField()
