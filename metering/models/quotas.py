"""How much is allowed: quotas, balances, top-ups and holds."""

from datetime import datetime
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from common.ids import Prefix
from common.quantities import QUANTITY_FIELD
from licenses.models import Agent, License, Plan
from metering.domain.enums import Anchor, HoldStatus, OnExcess, Period, QuotaMode, Scope, TopUpOrigin
from metering.models.meters import Meter
from tenants.models import Customer, Tenant, TenantOwned, TenantQuerySet, enum_choices


class Quota(TenantOwned):
    """A limit on a meter for a scope and period.

    It is set on a plan (and then holds for each licence, customer or agent under it, by `scope`) or on one
    licence, customer, agent or the whole tenant. `key` names what it counts: an edit that keeps the key keeps
    the balances.
    """

    id_prefix = Prefix.QUOTA

    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="quotas")
    scope = models.CharField(max_length=8, choices=enum_choices(Scope))
    plan = models.ForeignKey(Plan, null=True, blank=True, on_delete=models.PROTECT, related_name="quotas")
    license = models.ForeignKey(License, null=True, blank=True, on_delete=models.PROTECT, related_name="quotas")
    customer = models.ForeignKey(Customer, null=True, blank=True, on_delete=models.PROTECT, related_name="quotas")
    agent = models.ForeignKey(Agent, null=True, blank=True, on_delete=models.PROTECT, related_name="quotas")
    key = models.UUIDField(editable=False)
    filter = models.JSONField(default=dict, blank=True, help_text="Only events with these dimension values count.")
    limit = models.DecimalField(**QUANTITY_FIELD)
    ceiling = models.DecimalField(**QUANTITY_FIELD, null=True, blank=True, help_text="A soft quota is hard above it.")
    mode = models.CharField(max_length=4, choices=enum_choices(QuotaMode))
    period = models.CharField(max_length=8, choices=enum_choices(Period))
    rolling_seconds = models.PositiveIntegerField(null=True, blank=True)
    anchor = models.CharField(max_length=8, choices=enum_choices(Anchor), default=Anchor.CALENDAR)
    thresholds = ArrayField(models.PositiveSmallIntegerField(), default=list, blank=True, help_text="Per cent.")
    carry_over = models.BooleanField(default=False)
    carry_over_since = models.DateTimeField(null=True, blank=True, editable=False, help_text="Workspace time.")
    carry_over_limit = models.DecimalField(**QUANTITY_FIELD, null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    #: No column: when the licence that it was read for took its plan, if it had another one before.
    taken_at: datetime | None = None

    objects = TenantQuerySet["Quota"].as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "key", "plan", "license", "customer", "agent"],
                name="quota_once_per_owner",
                condition=Q(archived_at__isnull=True),
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                name="quota_one_owner",
                condition=Q(plan__isnull=False, license__isnull=True, customer__isnull=True, agent__isnull=True)
                | Q(
                    plan__isnull=True,
                    license__isnull=False,
                    customer__isnull=True,
                    agent__isnull=True,
                    scope=Scope.LICENSE,
                )
                | Q(
                    plan__isnull=True,
                    license__isnull=True,
                    customer__isnull=False,
                    agent__isnull=True,
                    scope=Scope.CUSTOMER,
                )
                | Q(
                    plan__isnull=True,
                    license__isnull=True,
                    customer__isnull=True,
                    agent__isnull=False,
                    scope=Scope.AGENT,
                )
                | Q(
                    plan__isnull=True,
                    license__isnull=True,
                    customer__isnull=True,
                    agent__isnull=True,
                    scope=Scope.TENANT,
                ),
            ),
            models.CheckConstraint(name="quota_limit_not_negative", condition=Q(limit__gte=0)),
            models.CheckConstraint(
                name="quota_ceiling_on_soft",
                condition=Q(ceiling__isnull=True) | Q(mode=QuotaMode.SOFT, ceiling__gte=F("limit")),
            ),
            models.CheckConstraint(
                name="quota_rolling_is_hard",
                condition=Q(rolling_seconds__isnull=True, period__in=[p for p in Period if p != Period.ROLLING])
                | Q(rolling_seconds__gt=0, period=Period.ROLLING, mode=QuotaMode.HARD),
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="quota_newest"),
            models.Index(fields=["tenant", "plan"], name="quota_of_plan"),
            models.Index(fields=["tenant", "license"], name="quota_of_license"),
            models.Index(fields=["tenant", "customer"], name="quota_of_customer"),
            models.Index(fields=["tenant", "agent"], name="quota_of_agent"),
        ]

    def __str__(self) -> str:
        return f"{self.meter} {self.limit}/{self.period} ({self.scope})"


class Balance(TenantOwned):
    """What one subject has used and holds under one quota key in one period, [period_start, period_end).

    The id is derived from (tenant, quota key, subject, period start), so that the ledger knows it without a
    read and locks in its order. `used` is the sum of the events counted here; `held` of the open hold lines.
    `base` is the part of `used` whose events are not kept any more; `burned` is what top-ups have covered;
    `latest_at` is when the event occurred whose value a latest meter has.
    A closed balance takes no more events; a detached one no longer had its quota in force since then.
    """

    id_prefix = Prefix.BALANCE

    quota_key = models.UUIDField()
    scope = models.CharField(max_length=8, choices=enum_choices(Scope))
    subject_id = models.UUIDField()
    meter = models.ForeignKey(Meter, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+", db_index=False)
    plan_id = models.UUIDField(null=True, help_text="The plan that the quota key belongs to.")
    customer_id = models.UUIDField(null=True)
    license_id = models.UUIDField(null=True)
    filter = models.JSONField(default=dict)
    period = models.CharField(max_length=8, choices=enum_choices(Period))
    period_start = models.DateTimeField()
    period_end = models.DateTimeField(null=True)
    used = models.DecimalField(**QUANTITY_FIELD, default=0)
    held = models.DecimalField(**QUANTITY_FIELD, default=0)
    carried = models.DecimalField(**QUANTITY_FIELD, default=0, help_text="Left over from the period before.")
    brought = models.DecimalField(
        **QUANTITY_FIELD,
        null=True,
        help_text="What the period before left, also below 0; null: nothing is carried.",
    )
    burned = models.DecimalField(**QUANTITY_FIELD, default=0, db_default=0, help_text="Covered by top-ups.")
    base = models.DecimalField(
        **QUANTITY_FIELD, default=0, db_default=0, help_text="Of events that are not kept any more."
    )
    latest_at = models.DateTimeField(null=True)
    thresholds_fired = ArrayField(models.PositiveSmallIntegerField(), default=list)
    closed_at = models.DateTimeField(null=True)
    detached_at = models.DateTimeField(null=True)

    objects = TenantQuerySet["Balance"].as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "quota_key", "subject_id", "period_start"], name="balance_once_per_period"
            ),
            models.CheckConstraint(name="balance_held_not_negative", condition=Q(held__gte=0)),
        ]
        indexes: ClassVar = [
            models.Index(fields=["period_end"], name="balance_to_close", condition=Q(closed_at__isnull=True)),
            models.Index(fields=["tenant", "subject_id", "-period_start"], name="balance_of_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.scope} {self.subject_id}: {self.used}"


class BalanceValue(models.Model):
    """A value that a unique meter's balance has seen, as a 16-byte digest, and how many live events carry it."""

    id = models.UUIDField(primary_key=True, editable=False, help_text="Derived from balance and value.")
    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    balance = models.ForeignKey(Balance, on_delete=models.CASCADE, related_name="values")
    events = models.BigIntegerField(default=1)

    objects = TenantQuerySet["BalanceValue"].as_manager()

    def __str__(self) -> str:
        return f"{self.events}"


class TopUp(TenantOwned):
    """Extra allowance for one quota key and subject, from its start to its expiry, burnt down by priority."""

    id_prefix = Prefix.TOP_UP

    quota = models.ForeignKey(Quota, on_delete=models.PROTECT, related_name="top_ups")
    quota_key = models.UUIDField(editable=False)
    scope = models.CharField(max_length=8, choices=enum_choices(Scope))
    subject_id = models.UUIDField()
    amount = models.DecimalField(**QUANTITY_FIELD)
    used = models.DecimalField(**QUANTITY_FIELD, default=0)
    priority = models.IntegerField(default=0, help_text="The smaller number burns first.")
    origin = models.CharField(max_length=8, choices=enum_choices(TopUpOrigin), default=TopUpOrigin.GIVEN)
    reference = models.CharField(max_length=255, blank=True, help_text="The vendor's own, such as an order number.")
    starts_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    voided_at = models.DateTimeField(null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True)

    objects = TenantQuerySet["TopUp"].as_manager()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(name="top_up_amount_positive", condition=Q(amount__gt=0)),
            models.CheckConstraint(name="top_up_used_within", condition=Q(used__gte=0, used__lte=F("amount"))),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "quota_key", "subject_id"], name="top_up_of_subject")]

    def __str__(self) -> str:
        return f"{self.amount} for {self.subject_id}"


class TopUpBurn(TenantOwned):
    """How much of a top-up one balance has used, stored when it happens."""

    id_prefix = Prefix.TOP_UP

    top_up = models.ForeignKey(TopUp, on_delete=models.PROTECT, related_name="burns")
    balance = models.ForeignKey(Balance, on_delete=models.PROTECT, related_name="burns")
    quantity = models.DecimalField(**QUANTITY_FIELD)

    objects = TenantQuerySet["TopUpBurn"].as_manager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant", "top_up", "balance"], name="burn_once")]

    def __str__(self) -> str:
        return f"{self.quantity}"


class Hold(TenantOwned):
    """A reservation that is settled, released or expires. A lease is a hold carried by a signed licence.

    `usage` is what was asked: `[{"meter", "quantity", "dimensions"}]`, with the meter's code and id.
    """

    id_prefix = Prefix.HOLD

    license = models.ForeignKey(License, on_delete=models.PROTECT, related_name="holds")
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+", db_index=False)
    agent = models.ForeignKey(Agent, null=True, blank=True, on_delete=models.PROTECT, related_name="holds")
    client_id = models.CharField(max_length=255)
    status = models.CharField(max_length=8, choices=enum_choices(HoldStatus), default=HoldStatus.OPEN)
    on_excess = models.CharField(max_length=8, choices=enum_choices(OnExcess), default=OnExcess.COUNT)
    usage = models.JSONField()
    settled = models.JSONField(default=list, help_text="What was counted so far, by line.")
    lease = models.BooleanField(default=False)
    expires_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["Hold"].as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="hold_newest"),
            models.Index(fields=["tenant", "agent"], name="hold_open_of_agent", condition=Q(status=HoldStatus.OPEN)),
            models.Index(fields=["expires_at"], name="hold_expiry", condition=Q(status=HoldStatus.OPEN)),
        ]

    def __str__(self) -> str:
        return self.client_id


class HoldLine(TenantOwned):
    """What a hold reserves on one balance for one of its usage lines; `reserved` falls to 0 when it ends."""

    id_prefix = Prefix.HOLD

    hold = models.ForeignKey(Hold, on_delete=models.CASCADE, related_name="lines")
    balance = models.ForeignKey(Balance, on_delete=models.PROTECT, related_name="+", db_index=False)
    line = models.PositiveSmallIntegerField(help_text="Which of the hold's usage lines.")
    quantity = models.DecimalField(**QUANTITY_FIELD, help_text="Reserved at first.")
    reserved = models.DecimalField(**QUANTITY_FIELD, help_text="Still reserved.")
    expires_at = models.DateTimeField()
    open = models.BooleanField(default=True)

    objects = TenantQuerySet["HoldLine"].as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "hold", "line", "balance"], name="hold_line_once"),
            models.CheckConstraint(name="hold_line_not_negative", condition=Q(reserved__gte=0)),
        ]
        indexes: ClassVar = [
            models.Index(fields=["balance", "expires_at"], name="hold_lines_open", condition=Q(open=True))
        ]

    def __str__(self) -> str:
        return f"{self.reserved} of {self.quantity}"
