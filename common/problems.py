"""Problem documents (RFC 9457), and the one table that says which exception becomes which of them."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import django.db
import msgspec
import psycopg
import psycopg_pool
import redis
from django.core import exceptions as django_exceptions
from django.http import Http404, HttpResponse, UnreadablePostError
from rest_framework import exceptions as drf

from common.errors import (
    BadRequest,
    FieldError,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    PayloadTooLarge,
    Problem,
    RateLimited,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from common.json_decoding import field_error
from common.quantities import QuantityError
from common.text import TextError

PROBLEM_JSON: Final = "application/problem+json"


def problem_body(problem: Problem, request_id: str, *, instance: str | None = None) -> dict[str, Any]:
    """The members of the document: those of RFC 9457, and `code`, `request_id`, `errors` and the problem's own."""
    body: dict[str, Any] = {
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "detail": _told(problem),
        "code": problem.code,
        "request_id": request_id,
        "errors": problem.errors,
    }
    if instance is not None:
        body["instance"] = instance
    # The problem's own members never take the place of the standard ones.
    return {**problem.extra, **body}


def _told(problem: Problem) -> str:
    """The sentence for people. Whoever logs nothing else still learns which field it is about."""
    first = problem.errors[0] if problem.errors else None
    if first is not None and first["field"] and problem.detail == first["detail"]:
        return f"{first['field']}: {problem.detail}"
    return problem.detail or problem.title


def problem_bytes(problem: Problem, request_id: str, *, instance: str | None = None) -> bytes:
    """The document, encoded."""
    return json.dumps(problem_body(problem, request_id, instance=instance), separators=(",", ":"), default=str).encode()


def problem_response(problem: Problem, request_id: str, *, instance: str | None = None) -> HttpResponse:
    """The answer: `application/problem+json`, with the problem's own header fields."""
    content = problem_bytes(problem, request_id, instance=instance)
    return HttpResponse(content, status=problem.status, content_type=PROBLEM_JSON, headers=problem.headers)


def exception_to_problem(exc: BaseException) -> Problem | None:
    """What a caller is told of an exception; None for what nobody foresaw: log that and answer 500."""
    for kinds, translate in _TABLE:
        if isinstance(exc, kinds):
            return translate(exc)
    return None


def _invalid_field(exc: Any) -> Problem:
    return Invalid.field("", exc.code, exc.detail)


def _typed(exc: Any) -> Problem:
    error = field_error(exc)
    return Invalid(error["detail"], errors=[error])


def _upload(exc: Any) -> Problem:
    if isinstance(exc, django_exceptions.RequestDataTooBig):
        return PayloadTooLarge("The body is too large.")
    if isinstance(exc, django_exceptions.DisallowedHost):
        return BadRequest("host_not_allowed", "Nothing is served under this host name.")
    return BadRequest("bad_request", "The request cannot be read.")


def _django_validation(exc: Any) -> Problem:
    by_field = exc.error_dict if hasattr(exc, "error_dict") else {"": exc.error_list}
    errors = [
        FieldError(
            field="" if name == django_exceptions.NON_FIELD_ERRORS else name,
            code=error.code or "invalid",
            detail=" ".join(error.messages),
        )
        for name, found in by_field.items()
        for error in found
    ]
    return _invalid(errors)


def _drf_validation(exc: Any) -> Problem:
    return _invalid(list(_flatten(exc.detail, ())))


def _invalid(errors: list[FieldError]) -> Problem:
    first = errors[0] if errors else None
    return Invalid(f"{first['field'] or 'body'}: {first['detail']}" if first else "", errors=errors)


_DRF_CODES: Final = {"not_a_list": "wrong_type", "not_a_dict": "wrong_type", "not_a_string": "wrong_type"}


def _flatten(detail: Any, path: tuple[str, ...]) -> Iterator[FieldError]:
    """DRF nests errors as the data is nested; a list holds the messages of one field, or an entry for each item."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            yield from _flatten(inner, path if name == "non_field_errors" else (*path, str(name)))
    elif isinstance(detail, list | tuple):
        for index, inner in enumerate(detail):
            nested = isinstance(inner, dict | list | tuple)
            yield from _flatten(inner, (*path, str(index)) if nested else path)
    else:
        code = getattr(detail, "code", None) or "invalid"
        yield FieldError(field=".".join(path), code=_DRF_CODES.get(code, code), detail=str(detail))


def _drf_other(exc: Any) -> Problem:
    detail = str(exc.detail) if isinstance(exc.detail, str) else ""
    if exc.status_code >= 500:
        return Unavailable(detail) if exc.status_code == 503 else Problem()
    return BadRequest(exc.get_codes() if isinstance(exc.get_codes(), str) else "bad_request", detail)


_STORE_ERRORS: Final = (
    django.db.OperationalError,
    django.db.InterfaceError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg_pool.PoolTimeout,
    psycopg_pool.TooManyRequests,
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.MasterDownError,
    redis.exceptions.TryAgainError,
)

# The first row that fits: subclasses stand before their parents.
_TABLE: Final[tuple[tuple[Any, Callable[[Any], Problem]], ...]] = (
    (Problem, lambda exc: exc),
    (msgspec.ValidationError, _typed),
    (msgspec.DecodeError, lambda _: BadRequest("malformed_json", "The body is not JSON.")),
    ((QuantityError, TextError), _invalid_field),
    (_STORE_ERRORS, lambda _: Unavailable()),
    (Http404, lambda _: NotFound()),
    (django_exceptions.PermissionDenied, lambda _: Forbidden("forbidden", "This is not allowed.")),
    (django_exceptions.ValidationError, _django_validation),
    (django_exceptions.SuspiciousOperation, _upload),
    (UnreadablePostError, lambda _: BadRequest("body_incomplete", "The body broke off.")),
    (drf.ValidationError, _drf_validation),
    (drf.ParseError, lambda exc: BadRequest("malformed_json", str(exc.detail))),
    ((drf.NotAuthenticated, drf.AuthenticationFailed), lambda _: Unauthorized()),
    (drf.PermissionDenied, lambda exc: Forbidden(_own_code(exc, "permission_denied", "forbidden"), str(exc.detail))),
    (drf.NotFound, lambda _: NotFound()),
    (drf.MethodNotAllowed, lambda exc: MethodNotAllowed(str(exc.detail))),
    (drf.NotAcceptable, lambda exc: NotAcceptable(str(exc.detail))),
    (drf.UnsupportedMediaType, lambda exc: UnsupportedMediaType(str(exc.detail))),
    (drf.Throttled, lambda exc: RateLimited(str(exc.detail), retry_after=exc.wait or 1)),
    (drf.APIException, _drf_other),
)


def _own_code(exc: Any, default: str, ours: str) -> str:
    code = exc.get_codes()
    return code if isinstance(code, str) and code != default else ours
