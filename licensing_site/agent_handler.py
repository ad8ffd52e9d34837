"""A WSGI handler for the agents' door: Django's own, with a short middleware chain and without request signals."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class AgentHandler(WSGIHandler):
    """Serves `settings.AGENT_MIDDLEWARE` and the views behind it.

    `request_started` and `request_finished` cost half of a bare view. Of what hangs on them only one thing matters
    here, giving the database connection back to its pool, and that is done after every request, failed ones included.
    """

    _view_middleware: list[Callable[..., Any]]
    _template_response_middleware: list[Callable[..., Any]]
    _exception_middleware: list[Callable[..., Any]]

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: ARG002 - Django's signature
        self._view_middleware = []
        self._template_response_middleware = []
        self._exception_middleware = []
        handler = convert_exception_to_response(self._get_response)  # type: ignore[attr-defined] # not in the stubs
        for path in reversed(settings.AGENT_MIDDLEWARE):
            handler = convert_exception_to_response(import_string(path)(handler))
        self._middleware_chain = handler
        self._resolved: dict[str, ResolverMatch] = {}

    def __call__(  # type: ignore[override] # the stubs know only Django's own responses
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        try:
            response: Any = self.get_response(self.request_class(environ))
            if response.streaming:
                # Its rows may still be read from the database: Django closes up when the server closes the response.
                response._handler_class = self.__class__
            start_response(f"{response.status_code} {response.reason_phrase}", list(response.items()))
            if response.streaming:
                stream: Iterable[bytes] = response
                return stream
            for close in response._resource_closers:
                close()
            return [bytes(response.content)]
        finally:
            give_back_connections()

    def get_response(self, request: HttpRequest) -> HttpResponseBase:
        """Django's own, without what serves `reverse()`: nothing on this door makes links."""
        response: Any = self._middleware_chain(request)
        response._resource_closers.append(request.close)
        found: HttpResponseBase = response
        return found

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        """The view for this path; paths without a name in them are looked up once only."""
        match = self._resolved.get(request.path_info)
        if match is None:
            match = super().resolve_request(request)
            if match.route == request.path_info[1:]:
                self._resolved[request.path_info] = match
        request.resolver_match = match
        return match


def give_back_connections() -> None:
    """Return this thread's connections to their pools, and drop those that broke."""
    for connection in connections.all(initialized_only=True):
        connection.close_if_unusable_or_obsolete()
