"""Who may see and do what: every page of a workspace is wrapped in `workspace_page`, and nothing else decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from enum import StrEnum
from functools import wraps
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.http import url_has_allowed_host_and_scheme

from common.errors import NotFound
from tenants.domain.enums import Role, TenantMode, TenantStatus
from tenants.models import Tenant, User
from tenants.selectors.clocks import clock_of
from tenants.selectors.workspaces import Access, access_of, workspaces_of

#: Where the session remembers the workspace that was looked at last.
REMEMBERED: Final = "workspace"


class Right(StrEnum):
    """What a page or an action needs."""

    SEE = "see"
    STEER = "steer"


ROLES: Final[Mapping[Right, frozenset[Role]]] = {
    Right.SEE: frozenset(Role),
    Right.STEER: frozenset({Role.OWNER, Role.ADMIN, Role.DEVELOPER}),
}


@dataclass(frozen=True)
class Workspace:
    """The workspace that a page is about, and the person in it."""

    tenant: Tenant
    role: Role
    user: User
    now: datetime = field(init=False)
    zone: tzinfo = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "now", clock_of(self.tenant).now())
        object.__setattr__(self, "zone", ZoneInfo(self.tenant.timezone))

    def may(self, right: Right) -> bool:
        """Whether the person's role has the right; nobody steers a suspended workspace."""
        return self.role in ROLES[right] and (right is Right.SEE or not self.suspended)

    @property
    def may_steer(self) -> bool:
        """Whether actions are offered (for templates)."""
        return self.may(Right.STEER)

    @property
    def suspended(self) -> bool:
        """Whether the operators have suspended it."""
        return self.tenant.status == TenantStatus.SUSPENDED

    @property
    def is_test(self) -> bool:
        """Whether nothing in it is ever billed."""
        return self.tenant.mode == TenantMode.TEST


def workspace_page(right: Right = Right.SEE, *, methods: tuple[str, ...] = ("GET",)) -> Callable[..., Any]:
    """Wraps `view(request, workspace, **path)`: log-in, membership, role and method are settled before it runs.

    The path's `slug` names the workspace; without one it is the one looked at last, else the person's first. A
    workspace that is none of the person's is not found. The wrapped view carries `right` and `methods`, so that a
    test can try every page with every role.
    """

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @wraps(view)
        def page(request: HttpRequest, slug: str | None = None, **path: Any) -> HttpResponse:
            if request.method not in methods and not (request.method == "HEAD" and "GET" in methods):
                return HttpResponseNotAllowed(methods)
            if not request.user.is_authenticated:
                return log_in_first(request)
            try:
                access = _workspace(request, request.user, slug)
            except NotFound as exc:
                raise Http404 from exc
            if access is None:
                # Operators belong to no workspace: their place is the admin, which offers them one as well.
                return redirect("admin:index" if request.user.is_staff else "dashboard:start")
            workspace = Workspace(access.tenant, access.role, request.user)
            if request.session.get(REMEMBERED) != access.tenant.slug:
                request.session[REMEMBERED] = access.tenant.slug
            response = view(request, workspace, **path) if workspace.may(right) else refuse(request, workspace, right)
            add_never_cache_headers(response)
            return response

        page.right = right  # type: ignore[attr-defined]
        page.methods = methods  # type: ignore[attr-defined]
        return page

    return decorate


def log_in_first(request: HttpRequest) -> HttpResponse:
    """To the log-in and then back: to this page, or after an action to the page it was done on."""
    target = request.get_full_path()
    if request.method != "GET":
        referrer = request.META.get("HTTP_REFERER", "")
        known = url_has_allowed_host_and_scheme(referrer, allowed_hosts={request.get_host()})
        target = urlsplit(referrer)._replace(scheme="", netloc="").geturl() if known else reverse("dashboard:home")
    response: HttpResponse = redirect_to_login(target)
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": response.headers["Location"]})
    return response


def refuse(request: HttpRequest, workspace: Workspace, right: Right) -> HttpResponse:
    """403 that says who can."""
    context = {"workspace": workspace, "who": [role.value for role in Role if role in ROLES[right]]}
    return render(request, "dashboard/no_permission.html", context, status=HTTPStatus.FORBIDDEN)


def _workspace(request: HttpRequest, user: User, slug: str | None) -> Access | None:
    if slug is not None:
        return access_of(user, slug)
    remembered = request.session.get(REMEMBERED)
    if remembered:
        try:
            return access_of(user, remembered)
        except NotFound:
            del request.session[REMEMBERED]
    first = workspaces_of(user).order_by("mode", "created_at").first()
    return access_of(user, first.slug) if first else None
