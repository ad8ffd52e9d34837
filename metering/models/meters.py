"""What is measured: meters, and the rate cards from which cost meters are derived."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from common.ids import Prefix
from metering.domain.enums import Aggregation
from tenants.models import TenantOwned, TenantQuerySet, enum_choices


class Meter(TenantOwned):
    """Something that is counted. With a rate card it is a cost meter: its amounts are derived from other meters."""

    id_prefix = Prefix.METER

    code = models.CharField(max_length=64)
    name = models.CharField(max_length=200)
    unit = models.CharField(max_length=32)
    aggregation = models.CharField(max_length=8, choices=enum_choices(Aggregation), default=Aggregation.SUM)
    value_from = models.CharField(max_length=64, blank=True, help_text="A dimension that gives the value.")
    dimensions = models.JSONField(default=list, blank=True, help_text='Names, or {"name", "type", "max_values"}.')
    filter = models.JSONField(default=dict, blank=True, help_text="Only events with these dimension values count.")
    event_types = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    derived = models.BooleanField(default=False, help_text="A cost meter, in money, by its rate card.")
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["Meter"].as_manager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant", "code"], name="meter_code")]

    def __str__(self) -> str:
        return self.code


class RateCardEntry(TenantOwned):
    """A row of a cost meter's rate card: the price of a unit of another meter; without dimensions it catches all."""

    id_prefix = Prefix.PRICE

    meter = models.ForeignKey(Meter, on_delete=models.CASCADE, related_name="rate_card")
    source = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+")
    dimensions = models.JSONField(default=dict, blank=True)
    unit_price = models.DecimalField(max_digits=38, decimal_places=18)
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["RateCardEntry"].as_manager()

    class Meta:
        verbose_name_plural = "rate card entries"
        indexes: ClassVar = [models.Index(fields=["tenant", "meter", "source"], name="rate_card_rows")]

    def __str__(self) -> str:
        return f"{self.source} x {self.unit_price}"


class DimensionValue(TenantOwned):
    """A value that a dimension with a limited number of values has had; the first so many are kept, others are not."""

    id_prefix = Prefix.METER

    meter = models.ForeignKey(Meter, on_delete=models.CASCADE, related_name="dimension_values", db_index=False)
    dimension = models.CharField(max_length=64)
    value = models.CharField(max_length=200)

    objects = TenantQuerySet["DimensionValue"].as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "meter", "dimension", "value"], name="dimension_value_once")
        ]

    def __str__(self) -> str:
        return f"{self.dimension}={self.value}"
