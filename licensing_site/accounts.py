"""allauth's log-in pages with a limit on how often one address may try; these paths come before allauth's own."""

from __future__ import annotations

from allauth.account import views
from django.urls import path
from django_ratelimit.decorators import ratelimit

#: Posts a minute and address. allauth counts failed attempts for each account besides.
LOGIN_RATE = "30/m"

limited = ratelimit(key="ip", rate=LOGIN_RATE, method="POST", block=True, group="accounts")

urlpatterns = [
    path("login/", limited(views.login), name="account_login"),
    path("signup/", limited(views.signup), name="account_signup"),
    path("password/reset/", limited(views.password_reset), name="account_reset_password"),
]
