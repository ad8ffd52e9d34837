"""API keys of the workspace: the list, make one (its text is shown once), revoke."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from common.clock import real_clock
from common.errors import Invalid
from common.ids import Prefix
from dashboard.access import Right, Workspace, workspace_page
from dashboard.acting import actor_of, back, perform
from dashboard.filters import listing
from dashboard.forms import ApiKeyForm
from dashboard.frame import render_page
from dashboard.views.finding import find
from tenants.domain.enums import ApiKeyKind
from tenants.models import ApiKey
from tenants.services.api_keys import CreatedApiKey, create_api_key, revoke_api_key


@workspace_page()
def keys(request: HttpRequest, workspace: Workspace) -> HttpResponse:
    """The list, the newest first, revoked ones too."""
    return _list_page(request, workspace)


@workspace_page(Right.STEER, methods=("POST",))
def make_key(request: HttpRequest, workspace: Workspace) -> HttpResponse:
    """Make a key and show its text, in this answer and never again: it is kept nowhere, so no redirect can carry it."""
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
    return _list_page(request, workspace, created)


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
    is_dialog = bool(request.headers.get("HX-Request"))
    template = "dashboard/fragments/revoke_key.html" if is_dialog else "dashboard/revoke_key.html"
    context = {
        "at": "keys",
        "api_key": api_key,
        "next": request.GET.get("next", ""),
        "back": _list(workspace),
        "is_dialog": is_dialog,
    }
    return render_page(request, workspace, template, context)


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
