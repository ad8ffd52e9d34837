"""The baseline: a Django view that returns constant JSON. No middleware, no database, nothing to wait for."""

from typing import Any

from django.conf import settings

if not settings.configured:
    settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="none", ALLOWED_HOSTS=["*"], MIDDLEWARE=[], INSTALLED_APPS=[])

from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import re_path

_ANSWER = b'{"valid":true,"code":"valid","codes":[]}'


def view(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(_ANSWER, content_type="application/json")


urlpatterns = [re_path("", view)]
application: Any = get_wsgi_application()
