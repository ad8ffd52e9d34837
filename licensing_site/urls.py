"""Every path of the site. The agents' door comes first: it is asked a thousand times as often as the rest."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path

from licensing_site import health, pages, reference
from vendor_api.access.views import configuration

# Operators log in where everybody does, so that limits, second factors and the log of attempts hold for them as well.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

handler400 = "licensing_site.errors.bad_request"
handler403 = "licensing_site.errors.forbidden"
handler404 = "licensing_site.errors.not_found"
handler500 = "licensing_site.errors.server_error"

urlpatterns = [
    path("agent/v1/", include("agent_api.urls")),
    path("vendor/v1/", include("vendor_api.urls")),
    path("access/v1/", include("vendor_api.access.urls")),
    path(".well-known/authzen-configuration", configuration, name="authzen-configuration"),
    path("t/", include("agent_api.public_urls")),
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("openapi/<str:door>.json", reference.openapi_document, name="openapi"),
    path("", pages.home, name="home"),
    path("docs/", pages.docs, name="docs"),
    path("docs/tour/", pages.tour, name="docs-tour"),
    path("docs/api/", reference.browse_api, name="docs-api"),
    path("accounts/", include("licensing_site.accounts")),
    path("accounts/", include("allauth.urls")),
    path("dashboard/", include("dashboard.urls")),
    path("admin/", admin.site.urls),
]
