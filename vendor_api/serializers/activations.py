"""Activations, as answered."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from common.ids import Prefix
from licenses.domain.activations import ActivationStatus, activation_status
from vendor_api.serializers.base import Beside
from vendor_api.serializers.common import ResourceShape
from vendor_api.serializers.fields import IdField, TimeField


class ActivationShape(ResourceShape):
    """A licence bound to a machine (`fingerprint`) or to a copy of an agent (`instance`); the other one is null."""

    id = IdField(Prefix.ACTIVATION)
    license = IdField(Prefix.LICENSE, source="license_id")
    agent = IdField(
        Prefix.AGENT,
        source="agent_id",
        allow_null=True,
        help_text="Which one made it; null where a licence key did.",
    )
    fingerprint = serializers.CharField(allow_null=True)
    instance = serializers.CharField(allow_null=True)
    label = serializers.CharField()  # type: ignore[assignment] # hides what a field is called, which nobody asks here
    status = serializers.ChoiceField(choices=[each.value for each in ActivationStatus])
    last_heartbeat_at = TimeField(allow_null=True)
    expires_at = TimeField(allow_null=True, help_text="The end of its lease; null is permanent.")
    released_at = TimeField(allow_null=True)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        status = activation_status(
            expires_at=instance.expires_at, released_at=instance.released_at, at=self.context["at"]
        )
        return super().to_representation(Beside(instance, status=status.value))
