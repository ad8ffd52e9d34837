"""What has happened: events, the register of their ids, late entries, roll-ups."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from common.ids import Prefix
from common.quantities import QUANTITY_FIELD
from licenses.models import Agent, License
from metering.domain.enums import BucketSize, EventKind
from metering.models.meters import Meter
from tenants.models import Customer, Identified, Tenant, TenantOwned, TenantQuerySet, enum_choices


class UsageEvent(Identified):
    """A fact: this much was used, by whom, when. Append-only, partitioned by month of `occurred_at`.

    Django's key is `id`; the database's is (id, occurred_at), as a partitioned table demands. There are no
    foreign-key checks: the ledger writes ids that it has just read. `agent_path` holds the agent's ancestors
    from the topmost down to itself as they were. `corrects` names the event that this one reverses,
    `derived_from` the event from which a cost meter's amount was computed.
    """

    id_prefix = Prefix.EVENT

    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    customer = models.ForeignKey(
        Customer, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    license = models.ForeignKey(
        License, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    agent = models.ForeignKey(
        Agent, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    agent_path = ArrayField(models.UUIDField(), default=list)
    meter = models.ForeignKey(Meter, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")
    client_id = models.CharField(max_length=255, help_text="The id that the caller gave.")
    quantity = models.DecimalField(**QUANTITY_FIELD)
    dimensions = models.JSONField(default=dict)
    occurred_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    kind = models.CharField(max_length=8, choices=enum_choices(EventKind))
    hold_id = models.UUIDField(null=True)
    corrects = models.UUIDField(null=True)
    derived_from = models.UUIDField(null=True)
    flags = ArrayField(models.CharField(max_length=32), default=list, help_text="Such as rate_missing.")
    xid = models.BigIntegerField(help_text="The writing transaction's id: the roll-up's watermark.")

    objects = TenantQuerySet["UsageEvent"].as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["tenant", "license", "meter", "occurred_at"], name="event_of_license"),
        ]

    def __str__(self) -> str:
        return self.client_id


class EventId(models.Model):
    """The register that makes ids unique: one row for each id that a licence has ever counted or held.

    `digest` is a 16-byte hash of licence and id (the database's key is (tenant, digest)). The row keeps what a
    replay needs to give the same answer: a fingerprint of the payload by meaning, the effective `occurred_at`
    and whether the caller gave it, and the ids that were answered.
    """

    digest = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    fingerprint = models.UUIDField()
    kind = models.CharField(max_length=8, choices=enum_choices(EventKind))
    occurred_at = models.DateTimeField()
    occurred_given = models.BooleanField()
    event_ids = ArrayField(models.UUIDField(), default=list)
    hold_id = models.UUIDField(null=True)

    objects = TenantQuerySet["EventId"].as_manager()

    def __str__(self) -> str:
        return str(self.digest)


class LateEntry(TenantOwned):
    """An event that is counted in another period than its own, because that one was closed."""

    id_prefix = Prefix.EVENT

    event_id = models.UUIDField()
    occurred_at = models.DateTimeField()
    balance = models.ForeignKey("metering.Balance", on_delete=models.PROTECT, related_name="late_entries")
    own_balance_id = models.UUIDField(help_text="The closed balance that it would have counted in.")
    quantity = models.DecimalField(**QUANTITY_FIELD)

    objects = TenantQuerySet["LateEntry"].as_manager()

    class Meta:
        verbose_name_plural = "late entries"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "event_id", "balance"], name="late_entry_once")
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "own_balance_id"], name="late_entry_own")]

    def __str__(self) -> str:
        return f"{self.quantity}"


class UsageRollup(models.Model):
    """The sum of events in one bucket: a quarter of an hour or a UTC day, by everything that reports group by.

    The id is derived from the bucket's other columns, so that roll-ups upsert by it.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    size = models.CharField(max_length=8, choices=enum_choices(BucketSize))
    bucket_start = models.DateTimeField()
    meter = models.ForeignKey(Meter, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")
    customer = models.ForeignKey(
        Customer, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    license = models.ForeignKey(
        License, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    agent = models.ForeignKey(
        Agent, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    dimensions = models.JSONField(default=dict)
    total = models.DecimalField(**QUANTITY_FIELD)
    events = models.BigIntegerField()

    objects = TenantQuerySet["UsageRollup"].as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["tenant", "meter", "size", "bucket_start"], name="rollup_of_meter"),
            models.Index(fields=["tenant", "license", "meter", "size", "bucket_start"], name="rollup_of_license"),
            models.Index(fields=["tenant", "agent", "meter", "size", "bucket_start"], name="rollup_of_agent"),
            models.Index(fields=["tenant", "customer", "meter", "size", "bucket_start"], name="rollup_of_customer"),
        ]

    def __str__(self) -> str:
        return f"{self.bucket_start}: {self.total}"


class RollupCursor(models.Model):
    """How far events are rolled up: everything below transaction id `watermark` of this generation.

    A logical restore starts transaction ids anew, and with it a new generation.
    """

    name = models.CharField(max_length=32, primary_key=True)
    generation = models.PositiveIntegerField(default=1)
    watermark = models.BigIntegerField(default=0)
    rolled_up_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.name}: {self.generation}/{self.watermark}"
