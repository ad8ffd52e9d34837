"""Licences: the list, and suspend, reinstate, revoke."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from common.ids import Prefix
from dashboard import shown
from dashboard.access import Right, Workspace, workspace_page
from dashboard.acting import actor_of, back, perform
from dashboard.filters import chips, choice_of, listing, text_of
from dashboard.frame import render_page, render_question
from dashboard.selectors.licenses import (
    STATES,
    LicenseRow,
    in_state,
    license_rows,
    plans,
    search_licenses,
    shown_licenses,
)
from dashboard.snippets import snippets
from dashboard.views.finding import find
from licenses.models import License
from licenses.services import license_states


@workspace_page()
def licenses(request: HttpRequest, workspace: Workspace) -> HttpResponse:
    """The list, narrowed by what the URL says."""
    found = shown_licenses(workspace)
    state, text, plan = choice_of(request, "status", STATES), text_of(request, "q"), text_of(request, "plan")
    if state:
        found = in_state(found, state, workspace)
    if text:
        found = search_licenses(found, text)
    if plan:
        found = found.filter(carried_plans__plan__code=plan)
    page = listing(request, found, filters=("status", "q", "plan"))
    context = {
        **snippets(),
        "at": "licenses",
        "chips": chips(request, "status", STATES),
        "plans": plans(workspace),
        "plan": plan,
        "q": text,
        "state": state,
        "page": page,
        "rows": license_rows(workspace, page.rows),
    }
    return render_page(request, workspace, "dashboard/licenses.html", context)


@workspace_page(Right.STEER, methods=("POST",))
def suspend_license(request: HttpRequest, workspace: Workspace, license_id: str) -> HttpResponse:
    """Suspend; the message offers to undo it."""
    row = _row(workspace, license_id)
    stopped = (
        f" {shown.counted(row.agents, 'agent')} under it {'is' if row.agents == 1 else 'are'} refused from now on."
    )
    perform(
        request,
        lambda: license_states.suspend_license(**_target(request, workspace, row.license)),
        done=f"The licence of {row.license.customer} is suspended.{stopped if row.agents else ''}",
        undo=_path("license-reinstate", workspace, row.license),
    )
    return back(request, _list(workspace))


@workspace_page(Right.STEER, methods=("POST",))
def reinstate_license(request: HttpRequest, workspace: Workspace, license_id: str) -> HttpResponse:
    """End a suspension."""
    row = _row(workspace, license_id)
    perform(
        request,
        lambda: license_states.reinstate_license(**_target(request, workspace, row.license)),
        done=f"The licence of {row.license.customer} holds again.",
        undo=_path("license-suspend", workspace, row.license),
    )
    return back(request, _list(workspace))


@workspace_page(Right.STEER, methods=("GET", "POST"))
def revoke_license(request: HttpRequest, workspace: Workspace, license_id: str) -> HttpResponse:
    """Ask first, naming what stops: it cannot be undone."""
    row = _row(workspace, license_id)
    if request.method == "POST":
        perform(
            request,
            lambda: license_states.revoke_license(
                **_target(request, workspace, row.license), reason=request.POST.get("reason", "")
            ),
            done=f"The licence of {row.license.customer} is revoked for good.",
        )
        return back(request, _list(workspace))
    context = {"at": "licenses", "row": row}
    return render_question(request, workspace, "revoke_license", context, back=_list(workspace))


def _row(workspace: Workspace, license_id: str) -> LicenseRow:
    return license_rows(workspace, [find(shown_licenses(workspace), Prefix.LICENSE, license_id)])[0]


def _target(request: HttpRequest, workspace: Workspace, license: License) -> dict[str, Any]:
    return {
        "tenant": workspace.tenant,
        "license_id": license.id,
        "actor": actor_of(request, workspace.user),
    }


def _path(route: str, workspace: Workspace, license: License) -> str:
    return reverse(f"dashboard:{route}", kwargs={"slug": workspace.tenant.slug, "license_id": license.public_id})


def _list(workspace: Workspace) -> str:
    return reverse("dashboard:licenses", kwargs={"slug": workspace.tenant.slug})
