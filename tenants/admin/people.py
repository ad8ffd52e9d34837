"""Operators' pages of people: users, their memberships and invitations, and how they log in."""

from typing import Any

# allauth and Django register pages of their own, which show more than operators need: they have to come first.
import allauth.account.admin
import allauth.mfa.admin  # noqa: F401
import django.contrib.auth.admin  # noqa: F401
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin as BaseGroupAdmin
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.contrib.auth.models import Group
from django.forms import ModelForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserCreationForm

from common.ids import Prefix, encode_id
from tenants.admin.base import LedgerAdmin, OperatorAdmin
from tenants.admin.columns import display
from tenants.admin.filters import BY_TENANT, MadeFilter, by
from tenants.admin.forms import ServiceForm, ServiceFormMixin
from tenants.admin.operations import operator_of
from tenants.models import Invitation, Membership, User
from tenants.services.memberships import add_member, change_role, remove_member

for model in (EmailAddress, Authenticator, Group):
    admin.site.unregister(model)

_MIGHT = ("is_staff", "is_superuser", "groups", "user_permissions")


class NewUserForm(UserCreationForm):
    """A person is made with an address and, if they are not to set one themselves, a password."""

    class Meta:
        model = User
        fields = ("email", "name")

    def clean_email(self) -> str:
        """Addresses are kept in lower case: two that differ in case only are the same."""
        return str(self.cleaned_data["email"]).lower()


@admin.register(User)
class UserAdmin(BaseUserAdmin, OperatorAdmin):  # type: ignore[type-arg]
    """People. Only superusers make operators, and nobody less than them changes one."""

    form = ModelForm  # Django's own would show the password's hash.
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    related_ids = {}
    list_display = ("email", "name", "typeid", "is_staff", "is_active", "last_login", "date_joined")
    list_display_links = ("email",)
    list_filter = ("is_staff", "is_superuser", "is_active")
    search_fields = ("email", "name")
    ordering = ("-pk",)
    filter_horizontal = ()
    autocomplete_fields = ("groups",)
    readonly_fields = ("typeid", "password_state", "last_login", "date_joined", "user_permissions")
    fieldsets = (
        ("Person", {"fields": ("typeid", "email", "name", "is_active")}),
        ("Log-in", {"fields": ("password_state", "last_login", "date_joined")}),
        ("Operator", {"fields": ("is_staff", "is_superuser", "groups")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "usable_password", "password1", "password2")}),)

    def public_id(self, row: User) -> str:
        """`usr_…`"""
        return encode_id(Prefix.USER, row.pk)

    @display(description="password")
    def password_state(self, row: User) -> str:
        """Whether there is one, never anything of it."""
        state = "A password is set." if row.has_usable_password() else "No password is set."
        return format_html('{} <a class="text-link" href="{}">Set another one</a>', state, self._password_url(row))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """As Django has it."""
        return ModelAdmin.has_add_permission(self, request)  # type: ignore[no-any-return]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As Django has it, but operators are changed by superusers only."""
        if obj is not None and (obj.is_superuser or obj.is_staff) and not request.user.is_superuser:
            return False
        return ModelAdmin.has_change_permission(self, request, obj)  # type: ignore[no-any-return]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """What makes an operator is for superusers to say."""
        own = tuple(super().get_readonly_fields(request, obj))
        return own if request.user.is_superuser else (*own, *_MIGHT)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Addresses are kept in lower case."""
        obj.email = obj.email.lower()
        super().save_model(request, obj, form, change)

    def _password_url(self, row: User) -> str:
        return reverse("admin:auth_user_password_change", args=[row.pk])


@admin.register(Membership)
class MembershipAdmin(ServiceFormMixin, OperatorAdmin):
    """Who works where, as what."""

    form = ServiceForm
    with_related = ("tenant", "user")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.USER: "user_id"}
    list_display = ("user", "tenant", "role", "typeid", "created_at")
    list_filter = (BY_TENANT, by("role"), MadeFilter)
    search_fields = ("user__email",)
    autocomplete_fields = ("tenant", "user")
    readonly_fields = ("typeid", "created_at", "updated_at")
    fieldsets = ((None, {"fields": ("typeid", "tenant", "user", "role", "created_at", "updated_at")}),)
    add_fieldsets = ((None, {"fields": ("tenant", "user", "role")}),)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """As Django has it: saving calls a service."""
        return ModelAdmin.has_add_permission(self, request)  # type: ignore[no-any-return]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As Django has it: saving calls a service."""
        return ModelAdmin.has_change_permission(self, request, obj)  # type: ignore[no-any-return]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """One by one only, so that a refusal stands beside what it is about."""
        return obj is not None and ModelAdmin.has_delete_permission(self, request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A membership keeps its person and workspace."""
        return (*self.readonly_fields, "tenant", "user") if obj else tuple(self.readonly_fields)

    def save_model(self, request: HttpRequest, obj: Membership, form: Any, change: bool) -> None:
        """Add the member, or change the role."""
        actor = operator_of(request)
        if change:
            change_role(tenant=obj.tenant, membership_id=obj.pk, role=obj.role, actor=actor)
        else:
            made = add_member(tenant=obj.tenant, user=obj.user, role=obj.role, actor=actor)
            obj.pk, obj.created_at, obj._state.adding = made.pk, made.created_at, False

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        """Take the person out of the workspace."""
        remove_member(tenant=obj.tenant, membership_id=obj.pk, actor=operator_of(request))


@admin.register(Invitation)
class InvitationAdmin(OperatorAdmin):
    """Offers of membership; their tokens are nobody's to see."""

    with_related = ("tenant", "invited_by")
    list_display = ("email", "tenant", "role", "typeid", "expires_at", "accepted_at", "withdrawn_at")
    list_filter = (BY_TENANT, by("role"), MadeFilter)
    search_fields = ("email",)
    fieldsets = (
        ("Invitation", {"fields": ("typeid", "tenant", "email", "role", "invited_by")}),
        ("State", {"fields": ("created_at", "expires_at", "accepted_at", "withdrawn_at")}),
    )


@admin.register(EmailAddress)
class EmailAddressAdmin(OperatorAdmin):
    """Addresses, and whether their owners have shown that they read them."""

    with_related = ("user",)
    related_ids = {Prefix.USER: "user_id"}
    list_display = ("email", "user", "primary", "verified")
    list_filter = ("verified",)
    search_fields = ("email",)
    fieldsets = ((None, {"fields": ("email", "user", "primary", "verified")}),)


@admin.register(Authenticator)
class AuthenticatorAdmin(OperatorAdmin):
    """Second factors: removed for somebody who has lost theirs, never shown."""

    with_related = ("user",)
    related_ids = {Prefix.USER: "user_id"}
    list_display = ("user", "type", "created_at", "last_used_at")
    list_filter = (by("type"),)
    search_fields = ("user__email",)
    fieldsets = ((None, {"fields": ("user", "type", "created_at", "last_used_at")}),)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Without the factor's secret."""
        return super().get_queryset(request).defer("data")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A second factor of an operator is for superusers to remove."""
        if obj is not None and obj.user.is_staff and not request.user.is_superuser:
            return False
        return obj is not None and ModelAdmin.has_delete_permission(self, request, obj)


@admin.register(Group)
class GroupAdmin(BaseGroupAdmin, ModelAdmin):
    """What operators of a kind may do."""

    search_fields = ("name",)
    ordering = ("name",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Only superusers say who may do what."""
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only superusers say who may do what."""
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only superusers say who may do what."""
        return bool(request.user.is_superuser)


@admin.register(LogEntry)
class LogEntryAdmin(LedgerAdmin):
    """What operators did on these pages; the audit trail of each workspace says it for good."""

    with_related = ("user", "content_type")
    related_ids = {Prefix.USER: "user_id"}
    list_display = ("action_time", "user", "content_type", "object_repr", "change_message")
    fieldsets = (
        (None, {"fields": ("action_time", "user", "content_type", "object_id", "object_repr", "change_message")}),
    )
    ordering = ("-pk",)
