"""Telling vendors what happened: endpoints, deliveries and their attempts."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from common.ids import Prefix
from tenants.models import OutboxEvent, TenantOwned, TenantQuerySet, enum_choices
from webhooks.domain.enums import DeliveryStatus


class WebhookEndpoint(TenantOwned):
    """A vendor's address that is told of events; secrets are kept encrypted, two while one is being rotated."""

    id_prefix = Prefix.ENDPOINT

    url = models.URLField(max_length=2000)
    description = models.CharField(max_length=200, blank=True)
    event_types = ArrayField(models.CharField(max_length=64), default=list, help_text='Such as "license.*".')
    secret = models.BinaryField(editable=False)
    previous_secret = models.BinaryField(null=True, editable=False)
    previous_secret_until = models.DateTimeField(null=True, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    disabled_reason = models.CharField(max_length=200, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["WebhookEndpoint"].as_manager()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["tenant", "-created_at", "-id"], name="endpoint_newest")]

    def __str__(self) -> str:
        return self.url


class WebhookDelivery(TenantOwned):
    """One event for one endpoint, tried until it is taken or given up."""

    id_prefix = Prefix.DELIVERY

    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries")
    event = models.ForeignKey(OutboxEvent, on_delete=models.CASCADE, related_name="deliveries")
    subject = models.CharField(max_length=64)
    replay = models.PositiveSmallIntegerField(default=0)
    status = models.CharField(max_length=12, choices=enum_choices(DeliveryStatus), default=DeliveryStatus.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = TenantQuerySet["WebhookDelivery"].as_manager()

    class Meta:
        verbose_name_plural = "webhook deliveries"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "endpoint", "event", "replay"], name="delivery_once")
        ]
        indexes: ClassVar = [
            models.Index(fields=["next_attempt_at"], name="delivery_due", condition=Q(status=DeliveryStatus.PENDING)),
            models.Index(fields=["tenant", "endpoint", "-created_at"], name="delivery_of_endpoint"),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} to {self.endpoint_id}"


class DeliveryAttempt(TenantOwned):
    """What came of one attempt: status, time taken, and the beginning of the answer."""

    id_prefix = Prefix.DELIVERY

    delivery = models.ForeignKey(WebhookDelivery, on_delete=models.CASCADE, related_name="log")
    number = models.PositiveSmallIntegerField()
    at = models.DateTimeField()
    status_code = models.PositiveSmallIntegerField(null=True)
    latency_ms = models.PositiveIntegerField()
    error = models.CharField(max_length=200, blank=True)
    answer = models.TextField(blank=True, max_length=2048)

    objects = TenantQuerySet["DeliveryAttempt"].as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "delivery", "number"], name="attempt_number")
        ]

    def __str__(self) -> str:
        return f"#{self.number}: {self.status_code or self.error}"
