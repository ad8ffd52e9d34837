"""A vendor's isolated workspace, its customers, and who works in it."""

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models.functions import Lower

from common.ids import Prefix, new_id
from tenants.domain.enums import CustomerStatus, Role, TenantMode, TenantStatus
from tenants.models.base import Identified, TenantOwned, TenantQuerySet, enum_choices


class Tenant(Identified):
    """A workspace: everything a vendor has belongs to exactly one.

    A vendor has a live workspace and a test one, which points at it with `live`; the members are those of the
    live one. Only a test workspace's clock may be moved: its time is real time plus `clock_offset`.
    """

    id_prefix = Prefix.TENANT

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=200)
    mode = models.CharField(max_length=8, choices=enum_choices(TenantMode), default=TenantMode.LIVE)
    live = models.OneToOneField("self", null=True, blank=True, on_delete=models.PROTECT, related_name="test")
    status = models.CharField(max_length=16, choices=enum_choices(TenantStatus), default=TenantStatus.ACTIVE)
    status_reason = models.CharField(max_length=500, blank=True)
    timezone = models.CharField(max_length=64, default="UTC")
    currency = models.CharField(max_length=3, default="USD")
    clock_offset = models.DurationField(null=True, blank=True, help_text="Test workspaces only: ahead of real time.")
    rate_limits = models.JSONField(
        default=list, blank=True, help_text='[{"limit", "window", "burst"}], none by default'
    )
    settings = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="tenant_clock_moves_in_test_only",
                condition=models.Q(mode=TenantMode.TEST) | models.Q(clock_offset__isnull=True),
            ),
            models.CheckConstraint(
                name="tenant_test_workspace_has_live_one",
                condition=models.Q(mode=TenantMode.TEST) | models.Q(live__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return self.slug


class UserManager(BaseUserManager["User"]):
    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email__iexact=username)

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A person, named by e-mail address. Operators are staff; vendors' people are members of workspaces."""

    id_prefix = Prefix.USER
    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=200, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField("operator", default=False)
    date_joined = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(Lower("email"), name="user_email_any_case")]

    def __str__(self) -> str:
        return self.email

    def get_full_name(self) -> str:
        return self.name or self.email


class Membership(TenantOwned):
    """A person's role in a workspace (and in its test workspace)."""

    id_prefix = Prefix.MEMBERSHIP

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=enum_choices(Role))

    objects = TenantQuerySet["Membership"].as_manager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant", "user"], name="membership_once")]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"


class Invitation(TenantOwned):
    """An offer of membership to an e-mail address; the token is kept as a digest only."""

    id_prefix = Prefix.INVITATION

    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=16, choices=enum_choices(Role))
    token_digest = models.BinaryField(max_length=32)
    invited_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["Invitation"].as_manager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant", "token_digest"], name="invitation_token")]

    def __str__(self) -> str:
        return self.email


class Customer(TenantOwned):
    """Who buys from the vendor: licences, agents and usage hang below a customer."""

    id_prefix = Prefix.CUSTOMER

    external_id = models.CharField(max_length=200, help_text="The vendor's own name for this customer.")
    name = models.CharField(max_length=200, blank=True)
    email = models.EmailField(max_length=254, blank=True)
    status = models.CharField(max_length=16, choices=enum_choices(CustomerStatus), default=CustomerStatus.ACTIVE)
    rate_limits = models.JSONField(default=list, blank=True, help_text='[{"limit", "window", "burst"}]')
    metadata = models.JSONField(default=dict, blank=True)

    objects = TenantQuerySet["Customer"].as_manager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant", "external_id"], name="customer_external_id")]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="customer_newest"),
            GinIndex(fields=["metadata"], name="customer_metadata"),
        ]

    def __str__(self) -> str:
        return self.name or self.external_id
