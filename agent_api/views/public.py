"""What anybody may read of a workspace: the keys that verify its signed licences, and their status lists."""

from collections.abc import Callable
from hashlib import blake2b
from typing import NoReturn

import msgspec
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.views.decorators.csrf import csrf_exempt

from common.clock import real_clock
from common.errors import MethodNotAllowed, NotFound
from common.problems import exception_to_problem, problem_response
from licenses.domain.status_list import MEDIA_TYPE
from licenses.selectors.signing import published_keys
from licenses.services.status_lists import signed_status_list
from tenants.selectors.workspaces import tenant_by_slug

_JWKS_TYPE = "application/jwk-set+json"
_MAX_NUMBER = 2**31 - 1


@csrf_exempt
def key_set(request: HttpRequest, tenant: str) -> HttpResponseBase:
    """GET /t/{tenant}/.well-known/jwks.json (RFC 7517)"""

    def make() -> HttpResponse:
        workspace = tenant_by_slug(tenant)
        keys = published_keys(workspace.id, at=real_clock().now())
        body = msgspec.json.encode({"keys": keys}, order="sorted")
        # Short: a compromised key must not live on in caches.
        return _cacheable(request, body, _JWKS_TYPE, "public, max-age=60, must-revalidate")

    return _answered(request, make)


@csrf_exempt
def status_list(request: HttpRequest, tenant: str, number: str) -> HttpResponseBase:
    """GET /t/{tenant}/status-lists/{number} (draft-ietf-oauth-status-list)"""

    def make() -> HttpResponse:
        workspace = tenant_by_slug(tenant)
        if not number.isascii() or not number.isdigit() or len(number) > 10 or int(number) > _MAX_NUMBER:
            raise NotFound("There is no such status list.")
        text = signed_status_list(workspace, int(number))
        # To be asked for each time: a revocation is in it at once, and an ETag makes that cheap.
        return _cacheable(request, text.encode(), MEDIA_TYPE, "public, no-cache")

    return _answered(request, make)


def _answered(request: HttpRequest, make: Callable[[], HttpResponse]) -> HttpResponseBase:
    try:
        return make() if request.method in {"GET", "HEAD"} else _refuse_method()
    except Exception as error:
        problem = exception_to_problem(error)
        if problem is None:
            raise
        return problem_response(problem, getattr(request, "request_id", ""))


def _refuse_method() -> NoReturn:
    raise MethodNotAllowed("This can only be read.", allowed=["GET", "HEAD"])


def _cacheable(request: HttpRequest, body: bytes, content_type: str, caching: str) -> HttpResponse:
    etag = f'"{blake2b(body, digest_size=16).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": caching, "Access-Control-Allow-Origin": "*"}
    response = HttpResponse(body, content_type=content_type, headers=headers)
    conditional = get_conditional_response(request, etag=etag, response=response)
    if conditional is not response:
        for name, value in headers.items():
            conditional.headers[name] = value  # type: ignore[union-attr] # it is an answer, as one was given
    return conditional  # type: ignore[return-value] # see above
