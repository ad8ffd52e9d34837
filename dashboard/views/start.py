"""A workspace of one's own, for whoever has just signed up (or wants another)."""

from __future__ import annotations

from typing import cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from common.errors import Conflict, Invalid
from dashboard.acting import actor_of
from dashboard.forms import StartForm
from dashboard.starting import start_workspace
from tenants.models import User
from tenants.selectors.workspaces import workspaces_of


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def start(request: HttpRequest) -> HttpResponse:
    """Ask for a name and make the workspaces."""
    user = cast("User", request.user)
    form = StartForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            live = start_workspace(actor=actor_of(request, user), user=user, **form.cleaned_data)
        except (Invalid, Conflict) as refusal:
            for error in refusal.errors:
                form.add_error(error["field"] if error["field"] in form.fields else None, error["detail"])
            if not refusal.errors:
                form.add_error(None, refusal.detail)
        else:
            messages.success(request, f"{live.name} is ready, with a test workspace beside it.")
            return redirect("dashboard:overview", slug=live.slug)
    context = {"form": form, "has_workspaces": workspaces_of(user).exists()}
    return render(request, "dashboard/start.html", context)
