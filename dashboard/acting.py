"""How an action of a page is done: by a service, as this person, and told in a message that says what to do next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme

from common.addresses import client_address
from common.errors import Conflict, Forbidden, Invalid, RevocationPending
from common.ids import Prefix, encode_id
from tenants.domain.actors import Actor
from tenants.domain.enums import ActorKind
from tenants.models import User

#: A message's tag that begins so names the path that undoes what it tells of.
UNDO_TAG: Final = "undo:"


def actor_of(request: HttpRequest, user: User) -> Actor:
    """The person, as audit entries name them."""
    return Actor(
        kind=ActorKind.USER,
        id=encode_id(Prefix.USER, user.id),
        name=user.email,
        address=client_address(request),
        request_id=getattr(request, "request_id", ""),
    )


def perform(request: HttpRequest, action: Callable[[], object], *, done: str, undo: str = "") -> bool:
    """Do it and leave a message for the next page; whether it was done.

    `done` is the message of success, `undo` the path that takes it back. A refusal is told in its own words.
    """
    try:
        action()
    except RevocationPending:
        messages.warning(request, f"{done} It is not known to every process yet; that goes on by itself.")
        return True
    except (Conflict, Forbidden, Invalid) as refusal:
        messages.error(request, refusal.detail or refusal.title)
        return False
    messages.success(request, done, extra_tags=f"{UNDO_TAG}{undo}" if undo else "")
    return True


def back(request: HttpRequest, default: str) -> HttpResponse:
    """To the page that the form names in `next`, if it is one of ours."""
    wanted = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(wanted, allowed_hosts=None) and wanted.startswith("/"):
        return redirect(wanted)
    return redirect(default)
