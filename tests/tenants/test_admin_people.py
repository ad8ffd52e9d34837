"""Forms of the operators' admin: workspaces, users and memberships."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from common.errors import Conflict, Invalid
from tenants.domain.actors import worker
from tenants.models import AuditEntry, Membership, Tenant, User
from tenants.services.memberships import add_member, change_role, remove_member
from tests.operators import PASSWORD, Shop, make_operator, make_shop

pytestmark = pytest.mark.django_db

WORKSPACE = {"name": "New", "slug": "fresh", "mode": "live", "live": "", "timezone": "Europe/Berlin", "currency": "EUR"}


@pytest.fixture
def shop() -> Shop:
    return make_shop()


@pytest.fixture
def pages() -> Client:
    client = Client()
    client.force_login(make_operator())
    return client


def clerk(*codenames: str) -> Client:
    """An operator with these permissions only."""
    user = make_operator("clerk@example.com", is_superuser=False)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


def test_workspace__made_by_an_operator__audited(pages):
    answer = pages.post(reverse("admin:tenants_tenant_add"), WORKSPACE)
    tenant = Tenant.objects.get(slug="fresh")
    assert answer.status_code == 302
    assert (tenant.name, tenant.timezone, tenant.currency, tenant.mode) == ("New", "Europe/Berlin", "EUR", "live")
    entry = AuditEntry.objects.get(tenant=tenant)
    assert (entry.action, entry.actor_kind, entry.actor_name) == ("tenant.created", "operator", "root@example.com")


@pytest.mark.parametrize(
    ("field", "value"), [("slug", "-"), ("slug", "acme"), ("timezone", "Mars/Base"), ("currency", "EURO"), ("name", "")]
)
def test_workspace__bad_field__form_again_with_the_reason(shop, pages, field, value):
    answer = pages.post(reverse("admin:tenants_tenant_add"), {**WORKSPACE, field: value})
    assert answer.status_code == 200
    assert answer.context["adminform"].form.errors
    assert Tenant.objects.count() == 1


def test_workspace__test_one_of_a_test_one__refused_beside_the_field(shop, pages):
    test = Tenant.objects.create(slug="acme-test", name="Test", mode="test")
    answer = pages.post(reverse("admin:tenants_tenant_add"), {**WORKSPACE, "mode": "test", "live": str(test.pk)})
    assert answer.status_code == 200
    assert list(answer.context["adminform"].form.errors) == ["live"]
    assert Tenant.objects.count() == 2


def test_user__made_and_changed__address_in_lower_case(pages):
    made = pages.post(
        reverse("admin:tenants_user_add"),
        {
            "email": "Ada@Example.com",
            "name": "Ada",
            "usable_password": "true",
            "password1": PASSWORD,
            "password2": PASSWORD,
        },
    )
    assert made.status_code == 302
    user = User.objects.get(email="ada@example.com")
    assert user.check_password(PASSWORD)
    changed = pages.post(
        reverse("admin:tenants_user_change", args=[user.pk]),
        {"email": "Ada.L@example.com", "name": "Ada L", "is_staff": "on"},
    )
    assert changed.status_code == 302
    user.refresh_from_db()
    assert (user.email, user.name, user.is_staff, user.is_active) == ("ada.l@example.com", "Ada L", True, False)
    assert user.check_password(PASSWORD)


def test_user__same_address_in_other_case__refused(shop, pages):
    answer = pages.post(
        reverse("admin:tenants_user_add"),
        {"email": "OWNER@acme.example", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD},
    )
    assert answer.status_code == 200
    assert "email" in answer.context["adminform"].form.errors


def test_user__password_set_by_an_operator__works(shop, pages):
    user = shop.rows["tenants.user"]
    page = reverse("admin:auth_user_password_change", args=[user.pk])
    assert pages.get(page).status_code == 200
    new = "another good one 77"
    assert pages.post(page, {"usable_password": "true", "password1": new, "password2": new}).status_code == 302
    user.refresh_from_db()
    assert user.check_password(new)


def test_user__clerk__makes_nobody_an_operator(shop):
    client = clerk("view_user", "change_user", "add_user")
    user = shop.rows["tenants.user"]
    page = reverse("admin:tenants_user_change", args=[user.pk])
    answer = client.post(
        page, {"email": user.email, "name": "N", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    )
    assert answer.status_code == 302
    user.refresh_from_db()
    assert (user.name, user.is_staff, user.is_superuser) == ("N", False, False)


def test_user__clerk__changes_no_operator_nor_their_password(shop):
    root = make_operator("other-root@example.com")
    client = clerk("view_user", "change_user")
    page = reverse("admin:tenants_user_change", args=[root.pk])
    assert client.get(page).status_code == 200
    assert client.post(page, {"email": "mine@example.com", "is_active": "on"}).status_code == 403
    password = reverse("admin:auth_user_password_change", args=[root.pk])
    data = {"usable_password": "true", "password1": "another good one 77", "password2": "another good one 77"}
    assert client.post(password, data).status_code == 403
    root.refresh_from_db()
    assert (root.email, root.check_password(PASSWORD)) == ("other-root@example.com", True)


def test_group__clerk__gives_nobody_permissions():
    client = clerk("view_group", "change_group", "add_group")
    assert client.post(reverse("admin:auth_group_add"), {"name": "Mighty"}).status_code == 403


def test_membership__added_changed_and_removed__audited_each_time(shop, pages):
    tenant = shop.workspace.tenant
    user = User.objects.create_user("dev@example.com", PASSWORD)
    data = {"tenant": str(tenant.pk), "user": str(user.pk), "role": "viewer"}
    assert pages.post(reverse("admin:tenants_membership_add"), data).status_code == 302
    membership = Membership.objects.get(user=user)
    page = reverse("admin:tenants_membership_change", args=[membership.pk])
    assert pages.post(page, {"role": "admin"}).status_code == 302
    membership.refresh_from_db()
    assert membership.role == "admin"
    gone = reverse("admin:tenants_membership_delete", args=[membership.pk])
    assert pages.post(gone, {"post": "yes"}).status_code == 302
    assert not Membership.objects.filter(pk=membership.pk).exists()
    trail = AuditEntry.objects.filter(target_id=membership.public_id).order_by("id")
    assert [entry.action for entry in trail] == ["membership.created", "membership.updated", "membership.removed"]
    assert {entry.actor_kind for entry in trail} == {"operator"}


def test_membership__the_only_owner__stays_owner(shop, pages):
    membership = shop.rows["tenants.membership"]
    answer = pages.post(reverse("admin:tenants_membership_change", args=[membership.pk]), {"role": "viewer"})
    assert answer.status_code == 200
    assert "only owner" in answer.content.decode()
    gone = reverse("admin:tenants_membership_delete", args=[membership.pk])
    answer = pages.post(gone, {"post": "yes"}, follow=True)
    assert answer.redirect_chain == [(gone.replace("delete", "change"), 302)]
    assert "only owner" in answer.content.decode()
    membership.refresh_from_db()
    assert membership.role == "owner"


def test_add_member__test_workspace_of_a_live_one__refused(shop):
    test = Tenant.objects.create(slug="acme-test", name="Test", mode="test", live=shop.workspace.tenant)
    user = User.objects.create_user("dev@example.com", PASSWORD)
    with pytest.raises(Invalid):
        add_member(tenant=test, user=user, role="viewer", actor=worker("test"))


def test_add_member__twice__conflict(shop):
    membership = shop.rows["tenants.membership"]
    with pytest.raises(Conflict, match="member already") as caught:
        add_member(tenant=membership.tenant, user=membership.user, role="viewer", actor=worker("test"))
    assert caught.value.code == "already_member"


def test_change_role__second_owner__may_step_down_and_the_last_may_not_leave(shop):
    tenant, first = shop.workspace.tenant, shop.rows["tenants.membership"]
    user = User.objects.create_user("two@example.com", PASSWORD)
    second = add_member(tenant=tenant, user=user, role="owner", actor=worker("test"))
    change_role(tenant=tenant, membership_id=first.pk, role="admin", actor=worker("test"))
    with pytest.raises(Conflict) as caught:
        remove_member(tenant=tenant, membership_id=second.pk, actor=worker("test"))
    assert caught.value.code == "last_owner"
    remove_member(tenant=tenant, membership_id=first.pk, actor=worker("test"))
    assert list(Membership.objects.filter(tenant=tenant)) == [second]
