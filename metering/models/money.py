"""What it costs: prices of plans, and overage records that end up on bills."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from common.ids import Prefix
from common.quantities import QUANTITY_FIELD
from licenses.models import License, Plan
from metering.domain.enums import OverageStatus, PriceModel, Scope
from metering.models.meters import Meter
from metering.models.quotas import Quota
from tenants.models import Customer, TenantOwned, TenantQuerySet, enum_choices


class Price(TenantOwned):
    """What a plan charges for usage above its soft licence quota on the same meter and filter."""

    id_prefix = Prefix.PRICE

    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="prices")
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+")
    filter = models.JSONField(default=dict, blank=True)
    currency = models.CharField(max_length=3)
    model = models.CharField(max_length=12, choices=enum_choices(PriceModel))
    unit_price = models.DecimalField(max_digits=38, decimal_places=18, null=True, blank=True)
    package_size = models.DecimalField(**QUANTITY_FIELD, null=True, blank=True)
    package_price = models.DecimalField(max_digits=38, decimal_places=18, null=True, blank=True)
    tiers = models.JSONField(default=list, blank=True, help_text='[{"up_to", "unit_price", "flat_fee"}]')
    included_units = models.DecimalField(**QUANTITY_FIELD, default=0)
    minimum = models.DecimalField(max_digits=38, decimal_places=18, null=True, blank=True)
    maximum = models.DecimalField(max_digits=38, decimal_places=18, null=True, blank=True)
    starts_at = models.DateTimeField(null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["Price"].as_manager()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["tenant", "plan", "meter"], name="price_of_plan")]

    def __str__(self) -> str:
        return f"{self.meter} {self.model} {self.currency}"


class Statement(TenantOwned):
    """What a customer owes for one calendar month, issued once with a number of the workspace's own.

    The three texts are what is handed out, to the byte, whatever changes later; records name the statement that they
    are on.
    """

    id_prefix = Prefix.STATEMENT

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="statements")
    number = models.PositiveIntegerField()
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    issued_at = models.DateTimeField()
    totals = models.JSONField(default=list, help_text='[{"currency", "overage", "credits", "total"}]')
    as_json = models.TextField()
    as_csv = models.TextField()
    as_html = models.TextField()

    objects = TenantQuerySet["Statement"].as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "number"], name="statement_number"),
            models.UniqueConstraint(fields=["tenant", "customer", "period_start"], name="statement_once_per_period"),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "-created_at", "-id"], name="statement_newest")]

    def __str__(self) -> str:
        return f"{self.number}"


class OverageRecord(TenantOwned):
    """One priced excess of a billed quota, subject and period: open while it grows, then finalised for good.

    `lines` is the working, exact; `amount` is rounded once to the currency's minor unit; `price` is a copy of
    the terms that were applied. A record that `corrects` a final one (of status credit) says how the excess stands
    now in `used`, `limit` and `price`, and in `quantity`, `lines` and `amount` what that changes: less than 0 gives
    back. `statement` is the one that it was billed with, `void_statement` the one that took it back.
    """

    id_prefix = Prefix.OVERAGE

    quota = models.ForeignKey(Quota, on_delete=models.PROTECT, related_name="overages")
    quota_key = models.UUIDField(editable=False)
    scope = models.CharField(max_length=8, choices=enum_choices(Scope))
    subject_id = models.UUIDField()
    balance_id = models.UUIDField()
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+")
    license = models.ForeignKey(License, null=True, on_delete=models.PROTECT, related_name="overages")
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="overages")
    period_start = models.DateTimeField()
    period_end = models.DateTimeField(null=True)
    status = models.CharField(max_length=12, choices=enum_choices(OverageStatus), default=OverageStatus.OPEN)
    limit = models.DecimalField(**QUANTITY_FIELD)
    used = models.DecimalField(**QUANTITY_FIELD)
    quantity = models.DecimalField(**QUANTITY_FIELD)
    amount = models.DecimalField(max_digits=38, decimal_places=4)
    currency = models.CharField(max_length=3)
    lines = models.JSONField(default=list)
    price = models.JSONField(default=dict)
    finalized_at = models.DateTimeField(null=True, blank=True)
    voided_at = models.DateTimeField(null=True, blank=True)
    status_reason = models.CharField(max_length=500, blank=True)
    corrects = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="corrections")
    statement = models.ForeignKey(
        Statement, null=True, blank=True, on_delete=models.PROTECT, related_name="records", db_index=False
    )
    void_statement = models.ForeignKey(
        Statement, null=True, blank=True, on_delete=models.PROTECT, related_name="voided_records", db_index=False
    )

    objects = TenantQuerySet["OverageRecord"].as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "quota_key", "subject_id", "period_start"],
                name="overage_once_per_period",
                condition=Q(status__in=[OverageStatus.OPEN, OverageStatus.FINALIZED]),
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="overage_newest"),
            models.Index(fields=["tenant", "license", "-period_start"], name="overage_of_license"),
            models.Index(fields=["tenant", "customer", "-period_start"], name="overage_of_customer"),
            models.Index(
                fields=["tenant", "period_end"],
                name="overage_not_billed",
                condition=Q(statement__isnull=True, status__in=[OverageStatus.FINALIZED, OverageStatus.CREDIT]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"
