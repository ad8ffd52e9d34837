"""The API reference: the committed OpenAPI files and a page to browse them, served from here alone."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

DOORS = {"agent": "The agents' door", "vendor": "The vendors' door"}
OPENAPI_DIR = Path(settings.BASE_DIR) / "openapi"


@require_safe
def openapi_document(_request: HttpRequest, door: str) -> HttpResponseBase:
    """The OpenAPI 3.1 document of a door, byte for byte as committed."""
    document = OPENAPI_DIR / f"{door}.json"
    if door not in DOORS or not document.is_file():
        raise Http404
    return FileResponse(document.open("rb"), content_type="application/json")


@require_safe
def browse_api(request: HttpRequest) -> HttpResponse:
    """Swagger UI over both documents; it comes from the sidecar package, so no other host is asked."""
    return render(request, "licensing_site/api_reference.html", {"doors": DOORS})
