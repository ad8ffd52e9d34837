"""A customer's licence, the plans it carries and its own overrides."""

from typing import ClassVar

from django.contrib.postgres.indexes import GinIndex
from django.db import models

from common.ids import Prefix
from licenses.domain.enums import LicenseKind, LicenseStatus, PlanRole
from licenses.models.catalogue import Feature, Plan
from tenants.models import Customer, TenantOwned, TenantQuerySet, enum_choices


class License(TenantOwned):
    """What a customer may do, from when to when. Not started, grace and expired follow from the clock."""

    id_prefix = Prefix.LICENSE

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="licenses")
    kind = models.CharField(max_length=8, choices=enum_choices(LicenseKind), default=LicenseKind.BOTH)
    status = models.CharField(max_length=16, choices=enum_choices(LicenseStatus), default=LicenseStatus.ACTIVE)
    status_reason = models.CharField(max_length=500, blank=True)
    starts_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    expired_noted_at = models.DateTimeField(null=True, blank=True, help_text="When the expiry was made known.")
    expiring_noted_days = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="The last notice of this expiry that was given: so many days before it."
    )
    suspended_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    key_digest = models.BinaryField(max_length=32, null=True, editable=False)
    key_pepper_id = models.CharField(max_length=32, blank=True, editable=False)
    key_hint = models.CharField(max_length=8, blank=True, editable=False, help_text="The licence key's last group.")
    activation_limit_noted_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When it was last told that no place was left."
    )
    rate_limits = models.JSONField(
        default=list, blank=True, help_text='Overrides: [{"level", "limit", "window", "burst"}]'
    )
    hold_limit = models.PositiveIntegerField(
        null=True, blank=True, help_text="Open holds at once, instead of the plan's."
    )
    metadata = models.JSONField(default=dict, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["License"].as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "key_digest"], name="license_key", condition=models.Q(key_digest__isnull=False)
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="license_newest"),
            models.Index(fields=["tenant", "status", "-created_at"], name="license_status"),
            models.Index(fields=["tenant", "expires_at"], name="license_expiry"),
            models.Index(
                fields=["expires_at"],
                name="license_expiry_unnoted",
                condition=models.Q(expires_at__isnull=False, expired_noted_at__isnull=True),
            ),
            GinIndex(fields=["metadata"], name="license_metadata"),
        ]

    def __str__(self) -> str:
        return self.public_id


class LicensePlan(TenantOwned):
    """A plan that a licence carries: its base plan, or an add-on beside it."""

    id_prefix = Prefix.PLAN

    license = models.ForeignKey(License, on_delete=models.CASCADE, related_name="carried_plans")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="carried_by")
    role = models.CharField(max_length=8, choices=enum_choices(PlanRole))
    since = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Workspace time; empty for what it was issued with."
    )

    objects = TenantQuerySet["LicensePlan"].as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "license", "plan"], name="license_plan_once"),
            models.UniqueConstraint(
                fields=["tenant", "license"], name="license_one_base_plan", condition=models.Q(role=PlanRole.BASE)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan} ({self.role})"


class LicenseGrant(TenantOwned):
    """A licence's own value for a feature, weightier than its plans', for ever or for a time."""

    id_prefix = Prefix.GRANT

    license = models.ForeignKey(License, on_delete=models.CASCADE, related_name="grants")
    feature = models.ForeignKey(Feature, on_delete=models.PROTECT, related_name="+")
    value = models.JSONField()
    starts_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["LicenseGrant"].as_manager()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["tenant", "license"], name="license_grants")]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="license_grant_ends_after_start",
                condition=models.Q(starts_at__isnull=True)
                | models.Q(expires_at__isnull=True)
                | models.Q(expires_at__gt=models.F("starts_at")),
            )
        ]

    def __str__(self) -> str:
        return f"{self.feature} = {self.value}"
