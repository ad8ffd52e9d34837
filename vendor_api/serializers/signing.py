"""Signing keys, signed licences and licence files, as sent and as answered."""

from __future__ import annotations

from typing import Any, Final

from rest_framework import serializers

from common.ids import Prefix
from licenses.domain.enums import KeyStatus, SigningKeyStatus
from vendor_api.serializers.agents import key_status
from vendor_api.serializers.base import Beside, Shape
from vendor_api.serializers.common import ReasonBody, ResourceShape
from vendor_api.serializers.fields import IdField, SwitchField, TextField, TimeField

MAX_FINGERPRINT: Final = 256
MAX_AUDIENCE: Final = 200


class RotateBody(ReasonBody):
    """`compromised` takes the old key out of the key set at once, and revokes every token that it signed."""

    compromised = SwitchField(required=False, default=False)


class SigningKeyShape(ResourceShape):
    """A key pair that signs licences; its private half is shown to nobody."""

    id = IdField(Prefix.SIGNING_KEY)
    kid = serializers.CharField(help_text="What tokens call it: its RFC 7638 thumbprint.")
    status = serializers.ChoiceField(choices=[each.value for each in SigningKeyStatus])
    public_jwk = serializers.JSONField()
    retired_at = TimeField(allow_null=True)
    published_until = TimeField(
        allow_null=True, help_text="When the last token that it signed has died; null while it signs."
    )

    def to_representation(self, instance: Any) -> dict[str, Any]:
        ends = None if instance.status == SigningKeyStatus.ACTIVE else instance.last_token_expires_at
        return super().to_representation(Beside(instance, published_until=ends))


class TokenShape(ResourceShape):
    """A signed licence that was handed out; its text is not kept."""

    id = IdField(Prefix.TOKEN)
    license = IdField(Prefix.LICENSE, source="license_id")
    agent = IdField(Prefix.AGENT, source="agent_id", allow_null=True)
    signing_key = IdField(Prefix.SIGNING_KEY, source="signing_key_id")
    audience = serializers.CharField()
    status = serializers.ChoiceField(
        choices=[each.value for each in KeyStatus], help_text="Of the token itself; its licence has its own."
    )
    hold_id = IdField(Prefix.HOLD, allow_null=True, help_text="The lease that it carries.")
    confirmation = serializers.CharField(help_text="The thumbprint of the holder's key; empty: it is bound to none.")
    offline_file = serializers.BooleanField()
    status_list = serializers.IntegerField(source="list_number")
    status_index = serializers.IntegerField(source="list_index")
    expires_at = TimeField()
    revoked_at = TimeField(allow_null=True)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        status = key_status(instance.revoked_at, instance.expires_at)
        return super().to_representation(Beside(instance, status=status))


class LicenseFileBody(ReasonBody):
    """A file for a machine that never connects: it holds for a year, or until `expires_at`, or as the licence ends."""

    fingerprint = TextField(
        max_length=MAX_FINGERPRINT, required=False, allow_null=True, help_text="Binds it to this machine."
    )
    expires_at = TimeField(required=False, allow_null=True)
    audience = TextField(max_length=MAX_AUDIENCE, required=False, allow_null=True, help_text="The product by default.")


class LicenseFileShape(Shape):
    """A signed licence with the keys that verify it. It is in this answer only."""

    file = serializers.CharField(help_text="What to write into the file: JSON.")
    token = serializers.CharField()
    token_id = IdField(Prefix.TOKEN)
    fingerprint = serializers.CharField(allow_null=True)
    expires_at = TimeField()


FILE_EXAMPLE: dict[str, Any] = {"fingerprint": "host-7", "expires_at": "2027-11-23T00:00:00Z"}
ROTATE_EXAMPLE: dict[str, Any] = {"compromised": False}
