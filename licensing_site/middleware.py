"""Middleware that both chains share: the request's id and its line in the log, and headers of every API answer."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Awaitable, Callable

import structlog
from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from structlog.contextvars import bind_contextvars, clear_contextvars

from licensing_site.errors import bad_request
from licensing_site.logs import REDACTED

log = structlog.get_logger(__name__)

type_of_response = Callable[[HttpRequest], HttpResponse]

#: Whose successes are not worth a line.
QUIET_PREFIXES = ("/agent/v1/", "/static/", "/livez", "/readyz")
SECRET_PARTS = {"key", "uidb36", "token"}
LONGEST_PATH = 300

MOST_KNOWN_HOSTS = 1000

SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class RequestIdMiddleware:
    """Echoes a sane `X-Request-Id` or makes one: on `request.request_id`, in every log line and on the answer.

    Each request has one line in the log, but for those that would drown the others: what agents were answered
    without a failure, files, and the signs of life that a supervisor asks for.
    """

    def __init__(self, get_response: type_of_response) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sent = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = sent if SANE_REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        request.META["HTTP_X_REQUEST_ID"] = request_id
        request.request_id = request_id  # type: ignore[attr-defined]
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        began = time.perf_counter()
        response = self.get_response(request)
        response.headers["X-Request-Id"] = request_id
        if response.status_code >= 400 or not request.path_info.startswith(QUIET_PREFIXES):
            duration_ms = round((time.perf_counter() - began) * 1000, 1)
            log.info(
                "request.finished",
                method=request.method,
                path=path_without_secrets(request),
                status=response.status_code,
                duration_ms=duration_ms,
            )
        return response


class AllowedHostMiddleware:
    """Refuses a `Host` that is none of ours; the full chain asks for it elsewhere."""

    def __init__(self, get_response: type_of_response) -> None:
        self.get_response = get_response
        #: Hosts that were let through; few, as the settings name them, but a wildcard may stand for many.
        self._known: set[str] = set()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        host = request.META.get("HTTP_HOST", "")
        if host not in self._known or settings.USE_X_FORWARDED_HOST:
            try:
                request.get_host()
            except DisallowedHost as error:
                return bad_request(request, error)
            if len(self._known) < MOST_KNOWN_HOSTS:
                self._known.add(host)
        return self.get_response(request)


def path_without_secrets(request: HttpRequest) -> str:
    """The path for the log, never with the query; one-time keys of mailed links are parts of paths."""
    path = request.path
    match = request.resolver_match
    if match is not None and not request.path_info.startswith("/vendor/"):
        for name in SECRET_PARTS & match.kwargs.keys():
            path = path.replace(str(match.kwargs[name]), REDACTED)
    return path[:LONGEST_PATH]


class ApiHeadersMiddleware:
    """What Django's own security middleware would add, as far as it means something to a program."""

    def __init__(self, get_response: type_of_response) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        headers = response.headers
        headers["X-Content-Type-Options"] = "nosniff"
        headers.setdefault("Cache-Control", "no-store")
        return response


class UnreadBodyMiddleware:
    """Says `Connection: close` where the body was not read: the server closes such a connection anyhow, but often
    without a word, and the caller's next request on it breaks.

    Reading the rest instead would let anybody hold a thread with a body that comes slowly, key or no key.
    """

    def __init__(self, get_response: type_of_response) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        sent = request.META
        if sent.get("CONTENT_LENGTH") not in _NO_BODY or sent.get("HTTP_TRANSFER_ENCODING"):
            known = request.__dict__
            was_read = "_body" in known or known.get("_read_started")
            if not was_read or response.status_code == 413:
                response.headers["Connection"] = "close"
        return response


_NO_BODY = {None, "", "0"}


class BrowsersMiddleware(CorsMiddleware):
    """CORS for whoever sends an `Origin`; most callers of the agents' door are no browsers and are let through."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if "HTTP_ORIGIN" in request.META:
            return super().__call__(request)
        return self.get_response(request)
