import io
from typing import Any

import msgspec
import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.test import RequestFactory

from common.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType
from common.http_json import MAX_BODY, check_content_type, read_body, read_json


class Command(msgspec.Struct, forbid_unknown_fields=True):
    count: int = 0


def post(body: bytes, content_type: str = "application/json", **environ: Any) -> WSGIRequest:
    return RequestFactory().generic("POST", "/", body, content_type, **environ)


def chunked(body: bytes) -> WSGIRequest:
    """As Granian hands over a chunked body: no length, but a stream that ends."""
    environ = post(b"", "application/json").environ
    environ.pop("CONTENT_LENGTH", None)
    environ |= {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True, "CONTENT_TYPE": "application/json"}
    return WSGIRequest(environ)


def test_read_body__up_to_the_limit__is_read() -> None:
    assert read_body(post(b"x" * MAX_BODY)) == b"x" * MAX_BODY
    assert read_body(chunked(b"x" * MAX_BODY)) == b"x" * MAX_BODY


@pytest.mark.parametrize("make", [post, chunked])
def test_read_body__over_the_limit__is_too_large(make: Any) -> None:
    with pytest.raises(PayloadTooLarge) as refusal:
        read_body(make(b"x" * (MAX_BODY + 1)))
    assert (refusal.value.status, refusal.value.code) == (413, "body_too_large")


def test_read_body__length_declared_over_the_limit__is_refused_once_it_has_arrived() -> None:
    body = io.BytesIO(b"x" * (MAX_BODY + 1))
    with pytest.raises(PayloadTooLarge):
        read_body(WSGIRequest({**post(b"").environ, "CONTENT_LENGTH": str(MAX_BODY + 1), "wsgi.input": body}))
    assert body.tell() == MAX_BODY + 1


def test_read_body__length_declared_far_over_the_limit__is_refused_unread() -> None:
    body = io.BytesIO(b"x")
    with pytest.raises(PayloadTooLarge):
        read_body(WSGIRequest({**post(b"").environ, "CONTENT_LENGTH": str(100 * MAX_BODY), "wsgi.input": body}))
    assert body.tell() == 0


def test_read_body__length_smaller_than_the_body__ends_there() -> None:
    assert read_body(post(b"{} and more", CONTENT_LENGTH="2")) == b"{}"


@pytest.mark.parametrize("length", ["", "many", "-5"])
def test_read_body__no_sound_length_and_no_end__is_empty(length: str) -> None:
    assert read_body(post(b"{}", CONTENT_LENGTH=length)) == b""


def test_read_body__twice__is_the_same() -> None:
    request = chunked(b'{"count": 1}')
    assert read_body(request) == read_body(request) == request.body == b'{"count": 1}'


def test_read_body__already_read_by_django__keeps_the_limit() -> None:
    request = post(b"x" * 11)
    assert request.body == b"x" * 11
    with pytest.raises(PayloadTooLarge):
        read_body(request, max_bytes=10)


def test_read_body__connection_breaks_off__is_a_bad_request() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ConnectionResetError

    request = chunked(b"")
    request.environ["wsgi.input"] = Broken()
    with pytest.raises(BadRequest) as refusal:
        read_body(request)
    assert refusal.value.code == "body_incomplete"


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"'],
)
def test_check_content_type__json__passes(content_type: str) -> None:
    assert check_content_type(post(b"{}", content_type), b"{}") == "application/json"


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/jsonx",
        "json",
        "application/json,application/json",
        ";",
    ],
)
def test_check_content_type__anything_else__is_unsupported(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType) as refusal:
        check_content_type(post(b"{}", content_type), b"{}")
    assert (refusal.value.status, refusal.value.code) == (415, "unsupported_media_type")


def test_check_content_type__compressed__is_unsupported() -> None:
    with pytest.raises(UnsupportedMediaType):
        check_content_type(post(b"{}", HTTP_CONTENT_ENCODING="gzip"), b"{}")


def test_check_content_type__empty_body__needs_none() -> None:
    assert check_content_type(post(b"", ""), b"") == "application/json"


def test_check_content_type__several_accepted__tells_which_came() -> None:
    accepted = ("application/json", "application/cloudevents+json")
    assert (
        check_content_type(post(b"{}", "application/cloudevents+json"), b"{}", accepted)
        == "application/cloudevents+json"
    )


def test_read_json__all_of_it__gives_the_structure() -> None:
    assert read_json(chunked(b'{"count": 3}'), type=Command) == Command(count=3)
    assert read_json(post(b"", ""), type=Command, empty_as_object=True) == Command()
