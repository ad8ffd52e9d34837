"""Rules of the runaway guard and the incidents that it found, as sent and as answered."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from common.ids import Prefix
from metering.domain.runaway import LONGEST_WINDOW, MINUTE, RunawayAction, RunawayEffect, RunawayRule
from metering.services.runaway_policies import LONGEST_THROTTLE, MAX_CALLS, MAX_RULES
from vendor_api.serializers.base import Beside, Body, Shape
from vendor_api.serializers.common import RateLimitBody, RateLimitShape, ResourceShape, capped_list
from vendor_api.serializers.fields import (
    ChoiceField,
    IdField,
    QuantityField,
    ReferenceField,
    TimeField,
    WholeNumberField,
)

STATES = ("open", "ended", "undone")


class RunawayRuleBody(Body):
    """When an agent runs away, and what is done then."""

    rule = ChoiceField(choices=[each.value for each in RunawayRule])
    limit = QuantityField(
        help_text="Calls in a minute, times its usual rate, the refused share of its calls (0.9), or an hour's spend; "
        "the rule is broken above it."
    )
    action = ChoiceField(choices=[each.value for each in RunawayAction])
    window = WholeNumberField(
        min_value=MINUTE,
        max_value=LONGEST_WINDOW,
        required=False,
        allow_null=True,
        help_text="Of `baseline_multiple` and `refusal_share`: whole minutes, in seconds; 300 unless said.",
    )
    minimum_calls = WholeNumberField(
        min_value=1,
        max_value=MAX_CALLS,
        required=False,
        allow_null=True,
        help_text="Of the same: with fewer calls in the window nothing is found. 300 and 200 unless said.",
    )
    meter = ReferenceField(required=False, allow_null=True, help_text="Of `spend_per_hour`: its id or code.")
    throttle_to = RateLimitBody(required=False, allow_null=True, help_text="Of the action `throttle`.")

    def get_fields(self) -> dict[str, Any]:
        # `for` is no name that Python lets a class have.
        seconds = WholeNumberField(
            min_value=MINUTE,
            max_value=LONGEST_THROTTLE,
            required=False,
            allow_null=True,
            help_text="Seconds that a throttle holds; 3600 unless said.",
        )
        return {**super().get_fields(), "for": seconds}


class RunawayRuleShape(Shape):
    """A rule of the runaway guard."""

    rule = serializers.ChoiceField(choices=[each.value for each in RunawayRule])
    limit = QuantityField()
    action = serializers.ChoiceField(choices=[each.value for each in RunawayAction])
    window = serializers.IntegerField()
    minimum_calls = serializers.IntegerField(allow_null=True)
    meter = serializers.CharField(allow_null=True)
    throttle_to = RateLimitShape(allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), "for": serializers.IntegerField(allow_null=True)}


def rules_field(**options: Any) -> serializers.ListField:
    """The list of a plan's or an agent's rules."""
    return capped_list(RunawayRuleBody, at_most=MAX_RULES, **options)


class EvidenceShape(Shape):
    """What a finding rests on: calls and refusals in the window, and what the agent usually reaches in a minute."""

    calls = serializers.IntegerField()
    refusals = serializers.IntegerField()
    baseline = serializers.IntegerField(allow_null=True)


class RunawayIncidentShape(ResourceShape):
    """An agent that broke a rule, and what the guard did. `status` is `open` while the episode lasts."""

    id = IdField(Prefix.RUNAWAY_INCIDENT)
    agent = IdField(Prefix.AGENT, source="agent_id")
    license = IdField(Prefix.LICENSE, source="agent.license_id")
    customer = IdField(Prefix.CUSTOMER, source="agent.license.customer_id")
    status = serializers.ChoiceField(choices=STATES)
    rule = serializers.ChoiceField(choices=[each.value for each in RunawayRule])
    terms = RunawayRuleShape(help_text="The rule as it was.")
    plan = serializers.CharField(allow_null=True, help_text="Whose rule it was; null: the agent's own.")
    observed = QuantityField()
    limit = QuantityField(source="threshold", help_text="What was observed is above it.")
    evidence = EvidenceShape()
    action = serializers.ChoiceField(choices=[each.value for each in RunawayAction])
    effect = serializers.ChoiceField(
        choices=[each.value for each in RunawayEffect],
        help_text="What changed about the agent; `none` where a lower throttle held already, too.",
    )
    reason = serializers.CharField(source="mark")
    detected_at = TimeField()
    ended_at = TimeField(allow_null=True)
    held_off_until = TimeField(allow_null=True, help_text="Until then the rule leaves the agent alone.")
    undone_at = TimeField(allow_null=True)
    undone_by = serializers.CharField(allow_null=True)
    undo_reason = serializers.CharField(allow_null=True)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        status = "undone" if instance.undone_at else "ended" if instance.ended_at else "open"
        instance = Beside(
            instance,
            status=status,
            plan=instance.terms["plan"],
            undone_by=instance.undone_by or None,
            undo_reason=instance.undo_reason or None,
        )
        return super().to_representation(instance)


class RunawayStandingShape(Shape):
    """How an agent stands against a rule."""

    terms = RunawayRuleShape()
    plan = serializers.CharField(allow_null=True, help_text="Whose rule it is; null: the agent's own.")
    observed = QuantityField(allow_null=True, help_text="null: not known, such as while counters are away.")
    limit = QuantityField(allow_null=True, help_text="null: nothing to compare with yet, or too few calls.")
    evidence = EvidenceShape(allow_null=True)
    broken = serializers.BooleanField()


class RunawayStandingsShape(Shape):
    """How an agent stands against each rule that holds for it, the weightiest action first."""

    data = RunawayStandingShape(many=True)  # type: ignore[assignment] # it shadows what is for bodies


RULES_EXAMPLE: list[dict[str, Any]] = [
    {"rule": "calls_per_minute", "limit": "3000", "action": "suspend"},
    {
        "rule": "baseline_multiple",
        "limit": "10",
        "action": "throttle",
        "throttle_to": {"limit": 60, "window": 60},
        "for": 3600,
    },
    {"rule": "refusal_share", "limit": "0.9", "action": "notify"},
]
