"""Agents: the list, and suspend, resume, revoke."""

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
from dashboard.selectors.agents import STATES, agent_rows, agents_below, in_state, search_agents, shown_agents
from dashboard.snippets import snippets
from dashboard.views.finding import find
from licenses.models import Agent
from licenses.services import agent_states


@workspace_page()
def agents(request: HttpRequest, workspace: Workspace) -> HttpResponse:
    """The list, narrowed by what the URL says."""
    found = shown_agents(workspace)
    state, text = choice_of(request, "status", STATES), text_of(request, "q")
    if state:
        found = in_state(found, state, workspace)
    if text:
        found = search_agents(found, text)
    page = listing(request, found, filters=("status", "q"))
    context = {
        **snippets(),
        "at": "agents",
        "chips": chips(request, "status", STATES),
        "q": text,
        "state": state,
        "page": page,
        "rows": agent_rows(workspace, page.rows),
    }
    return render_page(request, workspace, "dashboard/agents.html", context)


@workspace_page(Right.STEER, methods=("POST",))
def suspend_agent(request: HttpRequest, workspace: Workspace, agent_id: str) -> HttpResponse:
    """Suspend; the message offers to undo it."""
    agent = _agent(workspace, agent_id)
    below = agents_below(workspace, agent)
    also = f" {shown.counted(below, 'agent')} below it {'stops' if below == 1 else 'stop'} with it." if below else ""
    perform(
        request,
        lambda: agent_states.suspend_agent(**_target(request, workspace, agent)),
        done=f"{agent.name} is suspended and is refused from now on.{also}",
        undo=_path("agent-resume", workspace, agent),
    )
    return back(request, _list(workspace))


@workspace_page(Right.STEER, methods=("POST",))
def resume_agent(request: HttpRequest, workspace: Workspace, agent_id: str) -> HttpResponse:
    """End a suspension."""
    agent = _agent(workspace, agent_id)
    perform(
        request,
        lambda: agent_states.resume_agent(**_target(request, workspace, agent)),
        done=f"{agent.name} may work again.",
        undo=_path("agent-suspend", workspace, agent),
    )
    return back(request, _list(workspace))


@workspace_page(Right.STEER, methods=("GET", "POST"))
def revoke_agent(request: HttpRequest, workspace: Workspace, agent_id: str) -> HttpResponse:
    """Ask first, naming what stops: it cannot be undone."""
    agent = _agent(workspace, agent_id)
    if request.method == "POST":
        perform(
            request,
            lambda: agent_states.revoke_agent(
                **_target(request, workspace, agent), reason=request.POST.get("reason", "")
            ),
            done=f"{agent.name} is revoked for good. Its keys are dead.",
        )
        return back(request, _list(workspace))
    context = {"at": "agents", "agent": agent, "below": agents_below(workspace, agent)}
    return render_question(request, workspace, "revoke_agent", context, back=_list(workspace))


def _agent(workspace: Workspace, agent_id: str) -> Agent:
    return find(shown_agents(workspace), Prefix.AGENT, agent_id)


def _target(request: HttpRequest, workspace: Workspace, agent: Agent) -> dict[str, Any]:
    return {"tenant": workspace.tenant, "agent_id": agent.id, "actor": actor_of(request, workspace.user)}


def _path(route: str, workspace: Workspace, agent: Agent) -> str:
    return reverse(f"dashboard:{route}", kwargs={"slug": workspace.tenant.slug, "agent_id": agent.public_id})


def _list(workspace: Workspace) -> str:
    return reverse("dashboard:agents", kwargs={"slug": workspace.tenant.slug})
