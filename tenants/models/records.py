"""What happened and what is under way: audit trail, outbox, remembered answers, jobs."""

from typing import ClassVar

from django.db import models

from common.ids import Prefix
from tenants.domain.enums import ActorKind, JobStatus
from tenants.models.base import Identified, TenantOwned, TenantQuerySet, enum_choices


class AuditEntry(Identified):
    """Who changed what, written in the change's own transaction and never altered.

    `actor_name` and `address` are personal: they enter the seal's hash as commitments salted with `salt`, so
    they and the salt can be erased and the chain still holds. A trigger refuses every other update and delete.
    """

    id_prefix = Prefix.AUDIT

    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="+", db_index=False)
    at = models.DateTimeField()
    actor_kind = models.CharField(max_length=16, choices=enum_choices(ActorKind))
    actor_id = models.CharField(max_length=64, blank=True)
    actor_name = models.CharField(max_length=254, blank=True)
    action = models.CharField(max_length=64)
    target_kind = models.CharField(max_length=32)
    target_id = models.CharField(max_length=64)
    changes = models.JSONField(default=dict)
    reason = models.CharField(max_length=500, blank=True)
    request_id = models.CharField(max_length=128, blank=True)
    address = models.CharField(max_length=64, blank=True)
    personal_commitment = models.BinaryField(max_length=32)
    salt = models.BinaryField(max_length=16, null=True)

    objects = TenantQuerySet["AuditEntry"].as_manager()

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-at", "-id"], name="audit_newest"),
            models.Index(fields=["tenant", "target_id", "-id"], name="audit_target"),
            models.Index(fields=["tenant", "action", "-id"], name="audit_action"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_id}"


class AuditSeal(models.Model):
    """An entry's place in its tenant's hash chain; insert-only."""

    entry = models.OneToOneField(AuditEntry, primary_key=True, on_delete=models.PROTECT, related_name="seal")
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="+", db_index=False)
    sequence = models.BigIntegerField()
    hash = models.BinaryField(max_length=32)
    previous_hash = models.BinaryField(max_length=32)
    sealed_at = models.DateTimeField()

    objects = TenantQuerySet["AuditSeal"].as_manager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant", "sequence"], name="seal_sequence")]

    def __str__(self) -> str:
        return f"#{self.sequence}"


class AuditChain(models.Model):
    """The head of a tenant's chain: the one lock that sealers take."""

    tenant = models.OneToOneField("tenants.Tenant", primary_key=True, on_delete=models.PROTECT, related_name="+")
    sequence = models.BigIntegerField(default=0)
    hash = models.BinaryField(max_length=32, default=bytes(32))

    def __str__(self) -> str:
        return f"head #{self.sequence}"


class OutboxEvent(Identified):
    """Something a vendor may want to hear of, written in the transaction of the change itself.

    `subject` is the public id of the object concerned: events of one subject are delivered in order.
    """

    id_prefix = Prefix.MESSAGE

    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.CASCADE, related_name="+", db_index=False)
    type = models.CharField(max_length=64)
    subject = models.CharField(max_length=64)
    data = models.JSONField()
    created_at = models.DateTimeField()
    dispatched_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["OutboxEvent"].as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="outbox_newest"),
            models.Index(fields=["id"], name="outbox_waiting", condition=models.Q(dispatched_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.subject}"


class IdempotencyRecord(TenantOwned):
    """The first answer to a POST with an Idempotency-Key, kept encrypted as it may hold a secret."""

    id_prefix = Prefix.MESSAGE

    caller = models.CharField(max_length=64, help_text="The id of the key that called.")
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32, help_text="Of method, path and body.")
    status = models.PositiveSmallIntegerField()
    headers = models.JSONField(default=dict)
    body = models.BinaryField()
    expires_at = models.DateTimeField(db_index=True)

    objects = TenantQuerySet["IdempotencyRecord"].as_manager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant", "caller", "key"], name="idempotency_key")]

    def __str__(self) -> str:
        return self.key


class Job(TenantOwned):
    """Longer work that was asked for over REST and can be polled."""

    id_prefix = Prefix.JOB

    kind = models.CharField(max_length=64)
    status = models.CharField(max_length=16, choices=enum_choices(JobStatus), default=JobStatus.PENDING)
    input = models.JSONField(default=dict)
    progress = models.JSONField(default=dict)
    result = models.JSONField(null=True)
    error = models.JSONField(null=True)
    actor = models.JSONField(default=dict)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True, help_text="A worker that dies is succeeded after this.")

    objects = TenantQuerySet["Job"].as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="job_newest"),
            models.Index(fields=["created_at"], name="job_unfinished", condition=models.Q(finished_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.status}"
