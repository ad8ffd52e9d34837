"""Identities below a licence, their keys, and activations of machines and copies."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models

from common.ids import Prefix
from licenses.domain.enums import AgentKind, AgentStatus
from licenses.models.license import License
from tenants.models import OpaqueKey, TenantOwned, TenantQuerySet, enum_choices


class Agent(TenantOwned):
    """One agent, or a fleet of copies that share an identity, with an optional parent agent.

    `path` holds the ids from the topmost ancestor down to the agent itself; a parent never changes.
    """

    id_prefix = Prefix.AGENT

    license = models.ForeignKey(License, on_delete=models.PROTECT, related_name="agents")
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    path = ArrayField(models.UUIDField(), editable=False)
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=8, choices=enum_choices(AgentKind), default=AgentKind.AGENT)
    status = models.CharField(max_length=16, choices=enum_choices(AgentStatus), default=AgentStatus.ACTIVE)
    status_reason = models.CharField(max_length=500, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    features = ArrayField(
        models.CharField(max_length=64), null=True, blank=True, help_text="Feature codes it may use; none means all."
    )
    rate_limits = models.JSONField(default=list, blank=True, help_text='[{"limit", "window", "burst"}]')
    hold_limit = models.PositiveIntegerField(
        null=True, blank=True, help_text="Open holds at once, those of agents below it included."
    )
    throttle = models.JSONField(null=True, blank=True, help_text="A lower rate for a time.")
    spawned = models.BooleanField(default=False, help_text="Made by its parent rather than by the vendor.")
    metadata = models.JSONField(default=dict, blank=True)
    suspended_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["Agent"].as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="agent_newest"),
            models.Index(fields=["tenant", "license", "-created_at"], name="agent_of_license"),
            models.Index(fields=["tenant", "status", "-created_at"], name="agent_status"),
            models.Index(fields=["expires_at"], name="agent_expiry", condition=models.Q(expires_at__isnull=False)),
            GinIndex(fields=["path"], name="agent_path"),
            GinIndex(fields=["metadata"], name="agent_metadata"),
        ]

    def __str__(self) -> str:
        return self.name


class AgentKey(OpaqueKey):
    """An agent's key (`pm_ak_`). An agent may have several, so that rotation can overlap."""

    id_prefix = Prefix.AGENT_KEY

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="keys")

    objects = TenantQuerySet["AgentKey"].as_manager()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["tenant", "agent", "-created_at"], name="agent_keys")]

    def __str__(self) -> str:
        return self.hint


class Activation(TenantOwned):
    """A licence bound to a machine (fingerprint) or to a copy of an agent (instance); for good, or as a lease.

    It takes one of the licence's places until it is released or its lease ends. The one of fingerprint and instance
    that it is not for is null, so that unique keys pass over it.
    """

    id_prefix = Prefix.ACTIVATION

    license = models.ForeignKey(License, on_delete=models.CASCADE, related_name="activations")
    agent = models.ForeignKey(Agent, null=True, blank=True, on_delete=models.CASCADE, related_name="activations")
    fingerprint = models.CharField(max_length=256, null=True, blank=True)  # noqa: DJ001 - no empty one may be unique
    instance = models.CharField(max_length=256, null=True, blank=True)  # noqa: DJ001
    label = models.CharField(max_length=200, blank=True)
    last_heartbeat_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="The lease's end; none is permanent.")
    lapse_noted_at = models.DateTimeField(null=True, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["Activation"].as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "license", "fingerprint"],
                name="activation_once",
                condition=models.Q(released_at__isnull=True),
            ),
            models.UniqueConstraint(
                fields=["tenant", "license", "agent", "instance"],
                name="activation_instance_once",
                condition=models.Q(released_at__isnull=True, instance__isnull=False),
            ),
            models.CheckConstraint(
                name="activation_of_machine_or_copy",
                condition=models.Q(fingerprint__isnull=False, instance__isnull=True)
                | models.Q(fingerprint__isnull=True, instance__isnull=False, agent__isnull=False),
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="activation_newest"),
            models.Index(
                fields=["expires_at"],
                name="activation_lapse_unnoted",
                condition=models.Q(expires_at__isnull=False, lapse_noted_at__isnull=True, released_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return self.label or self.fingerprint or self.instance or ""
