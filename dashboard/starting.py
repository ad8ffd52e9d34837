"""A new person's workspaces: a live one and the test one beside it, made in one step."""

from __future__ import annotations

from itertools import count

from django.db import transaction

from dashboard.forms import slug_for
from tenants.domain.actors import Actor
from tenants.domain.enums import TenantMode
from tenants.models import Tenant, User
from tenants.selectors.workspaces import workspaces_of
from tenants.services.workspaces import create_workspace


def start_workspace(*, actor: Actor, user: User, name: str, timezone: str, currency: str) -> Tenant:
    """Make a live workspace with its test workspace, owned by the person; the live one.

    Sent twice, it is made once: a workspace of this name that the person has already is answered as it is.
    Raises Invalid.
    """
    with transaction.atomic():
        # Two clicks on the button come as two requests: the second waits here and then finds what the first made.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        mine = workspaces_of(user).filter(mode=TenantMode.LIVE, name=name).first()
        if mine is not None:
            return mine
        slug = _free_slug(slug_for(name))
        live = create_workspace(actor=actor, name=name, slug=slug, owner=user, timezone=timezone, currency=currency)
        create_workspace(
            actor=actor,
            name=f"{name} (test)"[:200],
            slug=f"{slug}-test",
            timezone=timezone,
            currency=currency,
            mode=TenantMode.TEST,
            live=live,
        )
    return live


def _free_slug(wanted: str) -> str:
    for number in count(1):
        slug = wanted if number == 1 else f"{wanted}-{number}"
        if not Tenant.objects.filter(slug__in=[slug, f"{slug}-test"]).exists():
            return slug
    raise AssertionError
