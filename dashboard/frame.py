"""The frame around the pages of a workspace: what the sidebar shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from dashboard.access import Workspace
from tenants.models import Tenant
from tenants.selectors.workspaces import workspaces_of


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the sidebar."""

    label: str
    icon: str
    route: str
    path: str = ""
    current: bool = False


#: In the order of the sidebar. A page that does not exist yet has no entry.
ENTRIES = (
    Entry("Overview", "layout-dashboard", "overview"),
    Entry("Licences", "badge-check", "licenses"),
    Entry("Agents", "bot", "agents"),
    Entry("API keys", "key-round", "keys"),
)


def render_page(
    request: HttpRequest, workspace: Workspace, template: str, context: dict[str, Any], *, status: int = HTTPStatus.OK
) -> HttpResponse:
    """A page in the workspace's frame. `context["at"]` is the route of the entry that is current."""
    at = context.get("at", "")
    tenant = workspace.tenant
    frame = {
        "workspace": workspace,
        "entries": [replace(each, path=_path(each.route, tenant), current=each.route == at) for each in ENTRIES],
        "workspaces": workspaces_of(workspace.user),
    }
    return render(request, template, {**frame, **context}, status=status)


def render_question(
    request: HttpRequest, workspace: Workspace, name: str, context: dict[str, Any], *, back: str
) -> HttpResponse:
    """A question that is asked before something final: a dialog over the page where htmx asks, else a page."""
    is_dialog = bool(request.headers.get("HX-Request"))
    template = f"dashboard/fragments/{name}.html" if is_dialog else f"dashboard/{name}.html"
    asked = {"next": request.GET.get("next", ""), "back": back, "is_dialog": is_dialog}
    return render_page(request, workspace, template, {**context, **asked})


def _path(route: str, tenant: Tenant) -> str:
    return reverse(f"dashboard:{route}", kwargs={"slug": tenant.slug})
