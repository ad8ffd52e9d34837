"""Middleware that both chains share: the request's id, and the headers every API answer carries."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from structlog.contextvars import bind_contextvars, clear_contextvars

type_of_response = Callable[[HttpRequest], HttpResponse]

SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class RequestIdMiddleware:
    """Echoes a sane `X-Request-Id` or makes one: on `request.request_id`, in every log line and on the answer."""

    def __init__(self, get_response: type_of_response) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sent = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = sent if SANE_REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        request.META["HTTP_X_REQUEST_ID"] = request_id
        request.request_id = request_id  # type: ignore[attr-defined]
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        response = self.get_response(request)
        response.headers["X-Request-Id"] = request_id
        return response


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
