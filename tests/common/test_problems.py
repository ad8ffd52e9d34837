import json
from typing import Any

import django.db
import msgspec
import psycopg
import pytest
import redis
from django.core import exceptions as django_exceptions
from django.http import Http404
from rest_framework import exceptions as drf
from rest_framework import serializers

from common.errors import (
    BadRequest,
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    OutcomeUnknown,
    PayloadTooLarge,
    Problem,
    RateLimited,
    RevocationPending,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from common.problems import exception_to_problem, problem_body, problem_response
from common.quantities import QuantityError
from common.text import TextError


class Item(serializers.Serializer[Any]):
    quantity = serializers.IntegerField()


class Order(serializers.Serializer[Any]):
    name = serializers.CharField()
    items = Item(many=True)


@pytest.mark.parametrize(
    ("problem", "status", "code"),
    [
        (BadRequest(), 400, "malformed_json"),
        (Unauthorized(), 401, "unauthorized"),
        (Forbidden("agent_suspended"), 403, "agent_suspended"),
        (NotFound(), 404, "not_found"),
        (MethodNotAllowed(), 405, "method_not_allowed"),
        (NotAcceptable(), 406, "not_acceptable"),
        (Conflict("id_conflict"), 409, "id_conflict"),
        (PayloadTooLarge(), 413, "body_too_large"),
        (UnsupportedMediaType(), 415, "unsupported_media_type"),
        (Invalid(), 422, "invalid"),
        (Invalid(code="idempotency_key_reused"), 422, "idempotency_key_reused"),
        (RateLimited(), 429, "rate_limited"),
        (Unavailable(), 503, "store_unreachable"),
        (OutcomeUnknown(), 503, "outcome_unknown"),
        (RevocationPending(), 503, "revocation_pending"),
        (Problem(), 500, "internal_error"),
    ],
)
def test_problem_body__each_class__has_its_status_and_code(problem: Problem, status: int, code: str) -> None:
    body = problem_body(problem, "req-1")
    assert (body["status"], body["code"], body["request_id"]) == (status, code, "req-1")
    assert body["title"]
    assert body["detail"]
    assert body["errors"] == []


def test_problem_body__of_one_field__names_it_in_the_sentence_for_people() -> None:
    body = problem_body(Invalid.field("thresholds.0", "invalid", "A whole number."), "req-1")
    assert body["detail"] == "thresholds.0: A whole number."
    assert body["errors"] == [{"field": "thresholds.0", "code": "invalid", "detail": "A whole number."}]
    assert problem_body(Invalid.field("", "invalid", "A whole number."), "req-1")["detail"] == "A whole number."


def test_problem_response__forbidden__is_a_whole_document() -> None:
    problem = Forbidden(
        "activation_limit_reached", "No more activations.", extra={"limit": 3, "current": 3, "status": 1}
    )
    response = problem_response(problem, "req-1", instance="/agent/v1/activations")
    assert response.status_code == 403
    assert response["Content-Type"] == "application/problem+json"
    assert json.loads(response.content) == {
        "type": "about:blank",
        "title": "Forbidden",
        "status": 403,
        "detail": "No more activations.",
        "instance": "/agent/v1/activations",
        "code": "activation_limit_reached",
        "request_id": "req-1",
        "errors": [],
        "limit": 3,
        "current": 3,
    }


def test_problem_response__rate_limited__says_level_policies_and_when() -> None:
    response = problem_response(RateLimited(level="agent", retry_after=5.2), "req-1")
    body = json.loads(response.content)
    assert response.status_code == 429
    assert response["Retry-After"] == "6"
    assert body["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert (body["code"], body["level"], body["violated-policies"]) == ("rate_limited", "agent", ["agent"])


@pytest.mark.parametrize(
    ("problem", "field", "value"),
    [
        (Unauthorized(), "WWW-Authenticate", "Bearer"),
        (MethodNotAllowed(allowed=["GET", "POST"]), "Allow", "GET, POST"),
        (RateLimited(retry_after=0), "Retry-After", "1"),
        (Unavailable(), "Retry-After", "1"),
        (OutcomeUnknown("step-42"), "Retry-After", "1"),
        (RevocationPending(), "Retry-After", "1"),
    ],
)
def test_problem_response__header_fields__are_sent(problem: Problem, field: str, value: str) -> None:
    assert problem_response(problem, "req-1")[field] == value


def test_outcome_unknown__id__is_told() -> None:
    assert problem_body(OutcomeUnknown("step-42"), "req-1")["id"] == "step-42"


def test_problem_response__half_a_character__does_not_break_the_answer() -> None:
    response = problem_response(Invalid.field("x\ud800", "unknown_field", "Unknown."), "req-1")
    assert json.loads(response.content)["errors"][0]["field"] == "x\ud800"


@pytest.mark.parametrize(
    ("exc", "status", "code"),
    [
        (NotFound(), 404, "not_found"),
        (msgspec.DecodeError("x"), 400, "malformed_json"),
        (QuantityError("quantity_invalid", "No."), 422, "invalid"),
        (TextError("too_long", "No."), 422, "invalid"),
        (django.db.OperationalError(), 503, "store_unreachable"),
        (django.db.InterfaceError(), 503, "store_unreachable"),
        (psycopg.OperationalError(), 503, "store_unreachable"),
        (redis.ConnectionError(), 503, "store_unreachable"),
        (redis.TimeoutError(), 503, "store_unreachable"),
        (redis.exceptions.BusyLoadingError(), 503, "store_unreachable"),
        (redis.exceptions.ReadOnlyError(), 503, "store_unreachable"),
        (Http404(), 404, "not_found"),
        (django_exceptions.PermissionDenied(), 403, "forbidden"),
        (django_exceptions.RequestDataTooBig(), 413, "body_too_large"),
        (django_exceptions.DisallowedHost(), 400, "host_not_allowed"),
        (django_exceptions.SuspiciousOperation(), 400, "bad_request"),
        (drf.ParseError(), 400, "malformed_json"),
        (drf.NotAuthenticated(), 401, "unauthorized"),
        (drf.AuthenticationFailed("Token expired."), 401, "unauthorized"),
        (drf.PermissionDenied(), 403, "forbidden"),
        (drf.PermissionDenied(code="scope_missing"), 403, "scope_missing"),
        (drf.NotFound(), 404, "not_found"),
        (drf.MethodNotAllowed("PUT"), 405, "method_not_allowed"),
        (drf.NotAcceptable(), 406, "not_acceptable"),
        (drf.UnsupportedMediaType("text/plain"), 415, "unsupported_media_type"),
        (drf.Throttled(wait=3), 429, "rate_limited"),
        (drf.APIException(), 500, "internal_error"),
    ],
)
def test_exception_to_problem__foreseen__has_status_and_code(exc: Exception, status: int, code: str) -> None:
    problem = exception_to_problem(exc)
    assert problem is not None
    assert (problem.status, problem.code) == (status, code)


@pytest.mark.parametrize(
    "exc", [ValueError(), KeyError(), django.db.IntegrityError(), django.db.DataError(), redis.ResponseError()]
)
def test_exception_to_problem__unforeseen__is_none(exc: Exception) -> None:
    assert exception_to_problem(exc) is None


def test_exception_to_problem__authentication_failed__does_not_say_why() -> None:
    told = {
        getattr(exception_to_problem(exc), "detail", None)
        for exc in (drf.AuthenticationFailed("Expired."), drf.NotAuthenticated())
    }
    assert told == {"No valid key was given."}


def errors_of(exc: Exception) -> list[FieldError]:
    problem = exception_to_problem(exc)
    assert isinstance(problem, Invalid)
    return problem.errors


def test_exception_to_problem__msgspec_validation__names_the_field() -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"a": "x"}, dict[str, int])
    assert [(error["field"], error["code"]) for error in errors_of(caught.value)] == [("*", "wrong_type")]


def test_exception_to_problem__nested_serializer_errors__are_flat_paths() -> None:
    order = Order(data={"items": [{"quantity": 1}, {"quantity": "x"}, {}]})
    with pytest.raises(drf.ValidationError) as caught:
        order.is_valid(raise_exception=True)
    assert {(error["field"], error["code"]) for error in errors_of(caught.value)} == {
        ("name", "required"),
        ("items.1.quantity", "invalid"),
        ("items.2.quantity", "required"),
    }


def test_exception_to_problem__non_field_errors__are_the_whole_body() -> None:
    exc = drf.ValidationError({"non_field_errors": [drf.ErrorDetail("Ends before it starts.", code="invalid_range")]})
    assert errors_of(exc) == [{"field": "", "code": "invalid_range", "detail": "Ends before it starts."}]
    assert errors_of(drf.ValidationError("No.")) == [{"field": "", "code": "invalid", "detail": "No."}]


def test_exception_to_problem__django_validation__keeps_fields_and_codes() -> None:
    exc = django_exceptions.ValidationError(
        {
            "name": django_exceptions.ValidationError("Too %(what)s.", code="max_length", params={"what": "long"}),
            "__all__": ["No."],
        }
    )
    assert errors_of(exc) == [
        {"field": "name", "code": "max_length", "detail": "Too long."},
        {"field": "", "code": "invalid", "detail": "No."},
    ]
    assert errors_of(django_exceptions.ValidationError("No.")) == [{"field": "", "code": "invalid", "detail": "No."}]
