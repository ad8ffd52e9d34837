"""API keys, as sent and as answered."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from common.ids import Prefix
from licenses.domain.enums import KeyStatus
from tenants.domain.enums import ApiKeyKind
from vendor_api.serializers.agents import key_status
from vendor_api.serializers.base import Beside, Body
from vendor_api.serializers.common import ResourceShape, networks_field, text_list
from vendor_api.serializers.fields import ChoiceField, IdField, TextField, TimeField


class ApiKeyBody(Body):
    """A key of a backend (`secret`, with scopes), or of shipped software (`publishable`, without)."""

    name = TextField(max_length=200)
    kind = ChoiceField(choices=[each.value for each in ApiKeyKind], required=False, help_text="Secret unless said.")
    scopes = text_list(max_length=64, at_most=100, help_text="`*` is everything. A key can only hand on what it has.")
    networks = networks_field()
    expires_at = TimeField(required=False, allow_null=True)


class ApiKeyShape(ResourceShape):
    """An API key, without its secret."""

    id = IdField(Prefix.API_KEY)
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=[each.value for each in ApiKeyKind])
    scopes = serializers.ListField(child=serializers.CharField())
    hint = serializers.CharField(help_text="The beginning and end of the key.")
    status = serializers.ChoiceField(choices=[each.value for each in KeyStatus])
    networks = serializers.ListField(child=serializers.CharField())
    expires_at = TimeField(allow_null=True)
    revoked_at = TimeField(allow_null=True)
    last_used_at = TimeField(allow_null=True)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        status = key_status(instance.revoked_at, instance.expires_at)
        return super().to_representation(Beside(instance, status=status))


class CreatedApiKeyShape(ApiKeyShape):
    """An API key and its secret, which is in this answer only."""

    key = serializers.CharField()


API_KEY_EXAMPLE: dict[str, Any] = {"name": "reader", "kind": "secret", "scopes": ["licenses:read"]}
