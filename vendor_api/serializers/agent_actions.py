"""Actions on agents: one, a subtree, all of a licence or of a customer."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from licenses.services.throttles import LONGEST
from vendor_api.serializers.agents import AgentShape
from vendor_api.serializers.base import Shape
from vendor_api.serializers.common import LONGEST_WINDOW, ReasonBody
from vendor_api.serializers.fields import SwitchField, TimeField, WholeNumberField


class AgentActionBody(ReasonBody):
    """Why, and whether the agents below are meant, too."""

    subtree = SwitchField(required=False, default=False)


class RevokeAgentBody(ReasonBody):
    """Why. All agents below are meant, whatever `subtree` says."""

    subtree = SwitchField(required=False, default=True)


class ThrottleAgentsBody(ReasonBody):
    """At most `limit` calls in `window` seconds, `burst` at once, for a time; a limit of null lifts it."""

    limit = WholeNumberField(min_value=1, allow_null=True)
    window = WholeNumberField(min_value=1, max_value=LONGEST_WINDOW, required=False, help_text="Seconds.")
    burst = WholeNumberField(min_value=1, required=False, help_text="As many as `limit` unless said.")
    until = TimeField(required=False, allow_null=True, help_text="Without an end it stays until it is lifted.")

    def get_fields(self) -> dict[str, Any]:
        # `for` is no name that Python lets a class have.
        seconds = WholeNumberField(
            min_value=1, max_value=LONGEST, required=False, allow_null=True, help_text="Seconds from now."
        )
        return {**super().get_fields(), "for": seconds}


class ThrottleAgentBody(ThrottleAgentsBody):
    """A lower rate for a time, and whether the agents below get one each, too."""

    subtree = SwitchField(required=False, default=False)


class ActedAgentShape(AgentShape):
    """An agent after what was done to it, and how many agents that changed."""

    agents_changed = serializers.IntegerField()


class AgentsChangedShape(Shape):
    """How many agents an action changed."""

    agents_changed = serializers.IntegerField()
