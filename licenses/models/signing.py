"""Signed licences: a tenant's signing keys and what was signed with them."""

from typing import ClassVar

from django.db import models

from common.ids import Prefix
from licenses.domain.enums import SigningKeyStatus
from licenses.models.agents import Agent
from licenses.models.license import License
from tenants.models import TenantOwned, TenantQuerySet, enum_choices


class SigningKey(TenantOwned):
    """An Ed25519 key pair of a tenant; the private half is encrypted at rest."""

    id_prefix = Prefix.SIGNING_KEY

    kid = models.CharField(max_length=64, help_text="RFC 7638 thumbprint.")
    public_jwk = models.JSONField()
    private_key = models.BinaryField(editable=False)
    status = models.CharField(max_length=16, choices=enum_choices(SigningKeyStatus), default=SigningKeyStatus.ACTIVE)
    retired_at = models.DateTimeField(null=True, blank=True)
    last_token_expires_at = models.DateTimeField(null=True, blank=True, help_text="Stays in the JWKS until then.")

    objects = TenantQuerySet["SigningKey"].as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "kid"], name="signing_key_kid"),
            models.UniqueConstraint(
                fields=["tenant"], name="signing_key_one_active", condition=models.Q(status=SigningKeyStatus.ACTIVE)
            ),
        ]

    def __str__(self) -> str:
        return self.kid


class IssuedToken(TenantOwned):
    """A signed licence that was handed out, with its place in a status list. Its id is the token's `jti`."""

    id_prefix = Prefix.TOKEN

    license = models.ForeignKey(License, on_delete=models.PROTECT, related_name="tokens")
    agent = models.ForeignKey(Agent, null=True, blank=True, on_delete=models.PROTECT, related_name="tokens")
    signing_key = models.ForeignKey(SigningKey, on_delete=models.PROTECT, related_name="tokens")
    audience = models.CharField(max_length=200)
    list_number = models.PositiveIntegerField()
    list_index = models.PositiveIntegerField()
    hold_id = models.UUIDField(null=True, blank=True, help_text="The lease it carries.")
    confirmation = models.CharField(max_length=64, blank=True, help_text="Thumbprint of the holder's key (RFC 7800).")
    offline_file = models.BooleanField(default=False)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["IssuedToken"].as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "list_number", "list_index"], name="token_place")
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "license", "-created_at"], name="token_of_license"),
            models.Index(fields=["tenant", "agent", "-created_at"], name="token_of_agent"),
        ]

    def __str__(self) -> str:
        return self.public_id
