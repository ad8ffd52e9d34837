"""Workspaces, and who may enter them."""

from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from django.db.models import Q, QuerySet

from common.errors import NotFound
from tenants.domain.enums import Role
from tenants.models import Membership, Tenant, User


class Access(NamedTuple):
    """A workspace and what the person is in it."""

    tenant: Tenant
    role: Role


def workspaces_of(user: User) -> QuerySet[Tenant]:
    """The workspaces that this person is a member of, with their test workspaces."""
    own = Membership.objects.filter(user=user).values("tenant_id")
    return Tenant.objects.filter(Q(pk__in=own) | Q(live_id__in=own)).order_by("name", "slug")


def access_of(user: User, slug: str) -> Access:
    """The workspace of this slug and the person's role in it; a test workspace asks its live one.

    Raises NotFound for strangers too, so that slugs cannot be probed.
    """
    tenant = Tenant.objects.filter(slug=slug).first()
    if tenant is not None:
        membership = Membership.objects.filter(user=user, tenant_id=tenant.live_id or tenant.id).first()
        if membership is not None:
            return Access(tenant, Role(membership.role))
    raise NotFound("There is no such workspace.")


def tenant_by_slug(slug: str) -> Tenant:
    """The workspace of this slug, for public pages. Raises NotFound."""
    # NUL and its like name nothing, and the database would not even look.
    tenant = Tenant.objects.filter(slug=slug).first() if slug.isprintable() else None
    if tenant is None:
        raise NotFound("There is no such workspace.")
    return tenant


def tenant_of(tenant_id: UUID) -> Tenant:
    """The workspace of this id, which is known to exist."""
    return Tenant.objects.get(pk=tenant_id)


def moved_clocks() -> list[tuple[UUID, timedelta]]:
    """The workspaces whose clock runs ahead of real time, and by how much."""
    moved = Tenant.objects.filter(clock_offset__isnull=False).values_list("id", "clock_offset")
    return [(tenant_id, offset) for tenant_id, offset in moved if offset is not None]


def clock_offset_of(tenant_id: UUID) -> timedelta:
    """How far this workspace's clock runs ahead of real time, read now; nothing for one that does not exist."""
    offset = Tenant.objects.filter(pk=tenant_id).values_list("clock_offset", flat=True).first()
    return offset or timedelta(0)
