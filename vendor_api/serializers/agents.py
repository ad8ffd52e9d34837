"""Agents and their keys, as sent and as answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rest_framework import serializers

from common.clock import real_clock
from common.ids import Prefix
from licenses.domain.enums import AgentKind, AgentStatus, DisplayedAgentStatus, KeyStatus
from licenses.services.agent_keys import MAX_OVERLAP
from licenses.services.instances import count_active
from metering.selectors.runaway import own_rules
from vendor_api.serializers.base import Beside, Body, Shape
from vendor_api.serializers.common import (
    MetadataField,
    RateLimitBody,
    RateLimitShape,
    ResourceShape,
    capped_list,
    networks_field,
)
from vendor_api.serializers.fields import ChoiceField, IdField, ReferenceField, TextField, TimeField, WholeNumberField
from vendor_api.serializers.runaway import RunawayRuleShape, rules_field


class AgentBody(Body):
    """An identity below a licence; with a parent it has at most what that has."""

    license = ReferenceField()
    name = TextField(max_length=200)
    kind = ChoiceField(choices=[each.value for each in AgentKind], required=False)
    parent_id = ReferenceField(required=False, allow_null=True)
    expires_at = TimeField(required=False, allow_null=True)
    features = serializers.ListField(
        child=TextField(max_length=64),
        max_length=500,
        required=False,
        allow_null=True,
        help_text="The features that it may use; null: all that the licence has.",
    )
    rate_limits = capped_list(RateLimitBody)
    hold_limit = WholeNumberField(
        required=False, allow_null=True, help_text="Open holds at once, those of agents below it included."
    )
    runaway = rules_field(
        allow_null=True, help_text="Rules of the runaway guard in place of its plans'; `[]`: none, null: its plans'."
    )
    metadata = MetadataField(required=False)


class ThrottleShape(Shape):
    """A lower rate for a time; without an end until it is lifted."""

    limit = serializers.IntegerField()
    window = serializers.IntegerField()
    burst = serializers.IntegerField()
    until = serializers.CharField(allow_null=True)
    reason = serializers.CharField()


class InstancesShape(Shape):
    """How many copies of an agent called within the last five minutes, by the label that they sent."""

    active = serializers.IntegerField()


class InstanceShape(Shape):
    """A copy of an agent; `calls` of the last day."""

    label = serializers.CharField()  # type: ignore[assignment] # it shadows what labels forms
    last_seen_at = TimeField()
    calls = serializers.IntegerField()


class InstanceListShape(Shape):
    """The copies of an agent that called within the last day, the latest first."""

    data = InstanceShape(many=True)  # type: ignore[assignment] # it shadows what is for bodies
    next_cursor = serializers.CharField(allow_null=True)


class AgentShape(ResourceShape):
    """An agent. `status` is what holds now: what was decided, and where the clock stands."""

    id = IdField(Prefix.AGENT)
    license = IdField(Prefix.LICENSE, source="license_id")
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=[each.value for each in AgentKind])
    parent_id = IdField(Prefix.AGENT, allow_null=True)
    status = serializers.ChoiceField(choices=[each.value for each in DisplayedAgentStatus])
    status_reason = serializers.CharField()
    expires_at = TimeField(allow_null=True)
    features = serializers.ListField(child=serializers.CharField(), allow_null=True)
    rate_limits = RateLimitShape(many=True)
    hold_limit = serializers.IntegerField(allow_null=True)
    throttle = ThrottleShape(allow_null=True)
    runaway = RunawayRuleShape(many=True, allow_null=True, help_text="Its own rules; null: its plans' hold.")
    instances = InstancesShape()
    spawned = serializers.BooleanField()
    metadata = MetadataField()
    suspended_at = TimeField(allow_null=True)
    revoked_at = TimeField(allow_null=True)
    archived_at = TimeField(allow_null=True)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        active = self.context.get("active")
        counts = count_active(instance.tenant_id, [instance.id]) if active is None else active
        policies = self.context.get("runaway")
        rules = own_rules(instance.tenant_id, [instance.id]) if policies is None else policies
        instance = Beside(instance, instances={"active": counts.get(instance.id, 0)}, runaway=rules.get(instance.id))
        ends = instance.expires_at
        if instance.status == AgentStatus.ACTIVE and ends is not None and ends <= self.context["at"]:
            instance = Beside(instance, status=DisplayedAgentStatus.EXPIRED.value)
        if instance.throttle is not None and _is_over(instance.throttle, self.context["at"]):
            instance = Beside(instance, throttle=None)
        return super().to_representation(instance)


class CreatedAgentShape(Shape):
    """An agent and its first key, which is in this answer only."""

    agent = AgentShape()
    key = serializers.CharField()


class AgentKeyBody(Body):
    """A further key. `overlap` ends all earlier keys after so many seconds; without it they stay."""

    overlap = WholeNumberField(required=False, allow_null=True, max_value=MAX_OVERLAP)
    expires_at = TimeField(required=False, allow_null=True)
    networks = networks_field()


class AgentKeyChangesBody(Body):
    """What can be changed of a key: when it ends, and from where it may be used."""

    expires_at = TimeField(required=False, allow_null=True)
    networks = networks_field()


class CreatedAgentKeyShape(Shape):
    """A further key, which is in this answer only."""

    id = IdField(Prefix.AGENT_KEY)
    expires_at = TimeField(allow_null=True)
    key = serializers.CharField()


class AgentKeyShape(ResourceShape):
    """A key of an agent, without its secret."""

    id = IdField(Prefix.AGENT_KEY)
    agent = IdField(Prefix.AGENT, source="agent_id")
    hint = serializers.CharField(help_text="The beginning and end of the key.")
    status = serializers.ChoiceField(choices=[each.value for each in KeyStatus])
    networks = serializers.ListField(child=serializers.CharField())
    expires_at = TimeField(allow_null=True)
    revoked_at = TimeField(allow_null=True)
    last_used_at = TimeField(allow_null=True)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        status = key_status(instance.revoked_at, instance.expires_at)
        return super().to_representation(Beside(instance, status=status))


def _is_over(throttle: dict[str, Any], at: datetime) -> bool:
    return throttle["until"] is not None and datetime.fromisoformat(throttle["until"]) <= at


def key_status(revoked_at: datetime | None, expires_at: datetime | None) -> str:
    """What has become of a key. Keys live in real time, whatever the workspace's clock says."""
    if revoked_at is not None:
        return KeyStatus.REVOKED.value
    if expires_at is not None and expires_at <= real_clock().now():
        return KeyStatus.EXPIRED.value
    return KeyStatus.ACTIVE.value


AGENT_EXAMPLE: dict[str, Any] = {"license": "lic_01h455vb4pex5vsknk084sn02q", "name": "indexer", "kind": "agent"}
