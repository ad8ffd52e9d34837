"""People of a workspace, logged in."""

from __future__ import annotations

from django.test import Client

from tenants.domain.enums import Role
from tenants.models import Membership, Tenant, User
from tests.factories import make_user


def member(tenant: Tenant, role: Role = Role.OWNER) -> User:
    """A new person with this role."""
    user = make_user()
    Membership.objects.create(tenant=tenant, user=user, role=role)
    return user


def browser(tenant: Tenant, role: Role = Role.OWNER) -> Client:
    """A browser in which a new member with this role is logged in."""
    client = Client()
    client.force_login(member(tenant, role), backend="django.contrib.auth.backends.ModelBackend")
    return client
