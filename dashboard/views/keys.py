"""API keys of the workspace: the list, make one (its text is shown once), revoke.

A new key's text waits, encrypted, in the session of the person who made it, and leaves it when the list is next shown:
so a reload shows the list and makes no second key.
"""

from __future__ import annotations

from typing import Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from common.clock import real_clock
from common.crypto import UnsealError, seal, unseal
from common.errors import Invalid
from common.ids import Prefix
from dashboard.access import Right, Workspace, workspace_page
from dashboard.acting import actor_of, back, perform
from dashboard.filters import listing
from dashboard.forms import ApiKeyForm
from dashboard.frame import render_page, render_question
from dashboard.views.finding import find
from tenants.domain.enums import ApiKeyKind
from tenants.models import ApiKey
from tenants.services.api_keys import CreatedApiKey, create_api_key, revoke_api_key

_CREATED: Final = "created_api_key"


@workspace_page()
def keys(request: HttpRequest, workspace: Workspace) -> HttpResponse:
    """The list, the newest first, revoked ones too; above it the key that was just made."""
    return _list_page(request, workspace, _take_created(request, workspace))


@workspace_page(Right.STEER, methods=("POST",))
def make_key(request: HttpRequest, workspace: Workspace) -> HttpResponse:
    """Make a key; the list that comes next shows its text, and never again."""
    form = ApiKeyForm(request.POST)
    if not form.is_valid():
        for field, errors in form.errors.items():
            messages.error(request, f"{form.fields[field].label}: {' '.join(map(str, errors))}")
        return back(request, _list(workspace))
    kind = ApiKeyKind(form.cleaned_data["kind"])
    try:
        created = create_api_key(
            tenant=workspace.tenant,
            actor=actor_of(request, workspace.user),
            name=form.cleaned_data["name"],
            kind=kind,
            scopes=["*"] if kind is ApiKeyKind.SECRET else [],
        )
    except Invalid as refusal:
        messages.error(request, " ".join(each["detail"] for each in refusal.errors) or refusal.title)
        return back(request, _list(workspace))
    request.session[_CREATED] = {"id": created.api_key.public_id, "sealed": seal(created.text.encode()).decode()}
    return redirect(_list(workspace))


@workspace_page(Right.STEER, methods=("GET", "POST"))
def revoke_key(request: HttpRequest, workspace: Workspace, key_id: str) -> HttpResponse:
    """Ask first, naming what stops: it cannot be undone."""
    api_key = find(ApiKey.objects.for_tenant(workspace.tenant), Prefix.API_KEY, key_id)
    if request.method == "POST":
        perform(
            request,
            lambda: revoke_api_key(
                tenant=workspace.tenant,
                api_key_id=api_key.id,
                actor=actor_of(request, workspace.user),
                reason=request.POST.get("reason", ""),
            ),
            done=f"The key {api_key.name} is revoked for good.",
        )
        return back(request, _list(workspace))
    context = {"at": "keys", "api_key": api_key}
    return render_question(request, workspace, "revoke_key", context, back=_list(workspace))


def _take_created(request: HttpRequest, workspace: Workspace) -> CreatedApiKey | None:
    """The key that this person has just made in this workspace; it is gone from the session then."""
    kept = request.session.pop(_CREATED, None)
    if kept is None:
        return None
    try:
        api_key = find(ApiKey.objects.for_tenant(workspace.tenant), Prefix.API_KEY, kept["id"])
        return CreatedApiKey(api_key, unseal(kept["sealed"].encode()).decode())
    except (Http404, UnsealError):
        return None


def _list_page(request: HttpRequest, workspace: Workspace, created: CreatedApiKey | None = None) -> HttpResponse:
    page = listing(request, ApiKey.objects.for_tenant(workspace.tenant), filters=())
    context = {
        "at": "keys",
        "page": page,
        "rows": page.rows,
        "form": ApiKeyForm(),
        "created": created,
        "real_now": real_clock().now(),
    }
    return render_page(request, workspace, "dashboard/keys.html", context)


def _list(workspace: Workspace) -> str:
    return reverse("dashboard:keys", kwargs={"slug": workspace.tenant.slug})
