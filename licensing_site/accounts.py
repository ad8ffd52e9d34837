"""allauth's log-in pages with limits on how often they may be tried; these paths come before allauth's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from http import HTTPStatus
from typing import Any, Final

from allauth.account import views
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django_ratelimit.core import get_usage

View = Callable[..., HttpResponse]

#: Posts of one address. allauth counts failed attempts for each account besides.
ADDRESS_RATE: Final = "30/m"
#: Posts with one e-mail address, wherever they come from.
LOGIN_EMAIL_RATE: Final = "10/5m"
SIGNUP_EMAIL_RATE: Final = "10/15m"
RESET_EMAIL_RATE: Final = "5/15m"

#: The fields in which the pages send an e-mail address.
EMAIL_FIELDS: Final = {"login": "login", "signup": "email", "reset": "email"}


def limited(view: View, *, page: str, email_rate: str) -> View:
    """Answer 429 to posts above a rate for the sender's address or for the e-mail that they name."""

    def email(_group: str, request: HttpRequest) -> str:
        return request.POST.get(EMAIL_FIELDS[page], "").strip().lower()

    limits: list[tuple[str, Any, str]] = [
        (f"accounts-{page}-address", "ip", ADDRESS_RATE),
        (f"accounts-{page}-email", email, email_rate),
    ]

    @wraps(view)
    def counted(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        waits = [
            usage["time_left"]
            for group, key, rate in limits
            if (usage := get_usage(request, group=group, key=key, rate=rate, method="POST", increment=True))
            and usage["should_limit"]
        ]
        return too_many(request, seconds=max(waits)) if waits else view(request, *args, **kwargs)

    return counted


def too_many(request: HttpRequest, *, seconds: int) -> HttpResponse:
    """429 that says when to come back: in `seconds`, at least one."""
    seconds = max(1, seconds)
    minutes = math.ceil(seconds / 60)
    words = f"{minutes} minutes" if seconds > 60 else f"{seconds} second{'' if seconds == 1 else 's'}"
    context = {"wait_until": datetime.now(UTC) + timedelta(seconds=seconds), "wait_words": words}
    response = render(request, "429.html", context, status=HTTPStatus.TOO_MANY_REQUESTS)
    response.headers["Retry-After"] = str(seconds)
    response.headers["Cache-Control"] = "no-store"
    return response


urlpatterns = [
    path("login/", limited(views.login, page="login", email_rate=LOGIN_EMAIL_RATE), name="account_login"),
    path("signup/", limited(views.signup, page="signup", email_rate=SIGNUP_EMAIL_RATE), name="account_signup"),
    path(
        "password/reset/",
        limited(views.password_reset, page="reset", email_rate=RESET_EMAIL_RATE),
        name="account_reset_password",
    ),
]
