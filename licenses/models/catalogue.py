"""What a vendor sells: products, their features, and plans that grant them."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import models

from common.ids import Prefix
from licenses.domain.enums import FeatureKind, LapsePolicy
from licenses.domain.license_times import DEFAULT_NOTICES
from tenants.models import TenantOwned, TenantQuerySet, enum_choices


def default_notices() -> list[int]:
    """How many days before a licence expires its vendor is told, unless the plan says otherwise."""
    return list(DEFAULT_NOTICES)


class Product(TenantOwned):
    """An agentic software that a vendor sells."""

    id_prefix = Prefix.PRODUCT

    code = models.CharField(max_length=64)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True, max_length=2000)
    metadata = models.JSONField(default=dict, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["Product"].as_manager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant", "code"], name="product_code")]

    def __str__(self) -> str:
        return self.code


class Feature(TenantOwned):
    """Something a licence can allow: a switch, a limit, or a choice of values."""

    id_prefix = Prefix.FEATURE

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="features")
    code = models.CharField(max_length=64)
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=8, choices=enum_choices(FeatureKind))
    choices = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["Feature"].as_manager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant", "product", "code"], name="feature_code")]

    def __str__(self) -> str:
        return self.code


class Plan(TenantOwned):
    """What a licence promises: term, grace, limits and grants. Quotas and prices of a plan live in metering."""

    id_prefix = Prefix.PLAN

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="plans")
    code = models.CharField(max_length=64)
    name = models.CharField(max_length=200)
    term = models.JSONField(null=True, blank=True, help_text='{"years"|"months"|"days": n}; none is perpetual.')
    trial = models.BooleanField(default=False)
    grace_days = models.PositiveIntegerField(default=0)
    expiry_notices = ArrayField(
        models.PositiveSmallIntegerField(), default=default_notices, blank=True, help_text="Days before the expiry."
    )
    activation_limit = models.PositiveIntegerField(null=True, blank=True)
    activation_required = models.BooleanField(default=False)
    activation_lease = models.PositiveIntegerField(null=True, blank=True, help_text="Seconds; none is permanent.")
    lapse_policy = models.CharField(max_length=8, choices=enum_choices(LapsePolicy), default=LapsePolicy.REFUSE)
    agent_limit = models.PositiveIntegerField(null=True, blank=True)
    hold_limit = models.PositiveIntegerField(null=True, blank=True, help_text="Open holds at once.")
    token_ttl = models.PositiveIntegerField(default=3600, validators=[MinValueValidator(1)], help_text="Seconds.")
    rate_limits = models.JSONField(default=list, blank=True, help_text='[{"level", "limit", "window", "burst"}]')
    metadata = models.JSONField(default=dict, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["Plan"].as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "code"], name="plan_code"),
            models.CheckConstraint(name="plan_token_ttl_positive", condition=models.Q(token_ttl__gte=1)),
        ]

    def __str__(self) -> str:
        return self.code


class PlanGrant(TenantOwned):
    """A plan's value for a feature: true or false, a number, or a list of choices."""

    id_prefix = Prefix.GRANT

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="grants")
    feature = models.ForeignKey(Feature, on_delete=models.PROTECT, related_name="+")
    value = models.JSONField()

    objects = TenantQuerySet["PlanGrant"].as_manager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant", "plan", "feature"], name="plan_grant_once")]

    def __str__(self) -> str:
        return f"{self.feature} = {self.value}"
