"""The pages for everybody: what Permeter is and what runs here, and the way into its documentation."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from licensing_site.health import check_stores
from licensing_site.tour import read_tour


@never_cache
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """`/`: what it is, whether it runs, and the doors. It answers with its stores away, too."""
    stores = check_stores()
    context = {"version": version(), "stores": stores, "all_well": all(stores.values()), "base_url": settings.BASE_URL}
    if not stores["postgres"]:
        # Who asks stands in the database: nobody is known then, and the page still answers.
        context["user"] = AnonymousUser()
    return render(request, "home.html", context)


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Where the documentation begins."""
    return render(request, "docs/index.html")


@require_safe
def tour(request: HttpRequest) -> HttpResponse:
    """Five minutes with curl, from a question to a revoked key: the steps of the README."""
    return render(request, "docs/tour.html", {"steps": read_tour()})


@cache
def version() -> str:
    """The version that pyproject.toml states."""
    with (Path(settings.BASE_DIR) / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])
