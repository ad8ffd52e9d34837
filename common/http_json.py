"""Bodies of requests: bounded reading, the kinds that are read, and JSON into types. Both doors read through here."""

from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any, Final, TypeVar

from django.http import HttpRequest
from django.utils.http import parse_header_parameters

from common.addresses import HasFields
from common.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType
from common.json_decoding import decode_json

__all__ = ["JSON", "MAX_BODY", "check_content_type", "decode_json", "read_body", "read_json", "stream_body"]

MAX_BODY: Final = 1024 * 1024
JSON: Final = "application/json"

_CHUNK: Final = 64 * 1024

#: So much of a body that is too large is read all the same: a caller who is still sending would not see the answer.
_PASSED_OVER: Final = 8 * 1024 * 1024

T = TypeVar("T")


def read_json(
    request: HttpRequest,
    *,
    type: type[T],
    empty_as_object: bool = False,
    max_bytes: int = MAX_BODY,
) -> T:
    """The request's JSON body as `type`. Raises PayloadTooLarge, UnsupportedMediaType, BadRequest and Invalid."""
    raw = read_body(request, max_bytes=max_bytes)
    check_content_type(request, raw)
    return decode_json(raw, type=type, empty_as_object=empty_as_object)


def read_body(request: HttpRequest, max_bytes: int = MAX_BODY) -> bytes:
    """The whole body, at most `max_bytes`, also where its length is not told (chunked) or not true.

    Raises PayloadTooLarge. Reading it again, here or as `request.body`, gives the same bytes.
    """
    known: bytes | None = request.__dict__.get("_body")
    if known is None:
        declared = request.META.get("CONTENT_LENGTH") or ""
        if declared.isdecimal() and int(declared) > max_bytes:
            _pass_over(request, int(declared))
            raise _too_large(max_bytes)
        known = _read_bounded(request, max_bytes, declared=bool(declared))
        # Where Django itself keeps what it has read: its own `body` and whatever else looks at it go on to work.
        request.__dict__["_body"] = known
    if len(known) > max_bytes:
        raise _too_large(max_bytes)
    return known


def stream_body(request: HttpRequest, max_bytes: int | None = None) -> Iterator[bytes]:
    """The body in pieces as they arrive, however long it is, or at most `max_bytes` of it.

    Raises BadRequest `body_incomplete` where it breaks off, PayloadTooLarge as soon as it is known to be too long.
    """
    declared = request.META.get("CONTENT_LENGTH") or ""
    if max_bytes is not None and declared.isdecimal() and int(declared) > max_bytes:
        _pass_over(request, int(declared))
        raise _too_large(max_bytes)
    source = _source(request, declared=bool(declared))
    request.__dict__["_read_started"] = True  # also where it is read past Django: whoever asks, it is being read
    size = 0
    try:
        while piece := source.read(_CHUNK):
            size += len(piece)
            if max_bytes is not None and size > max_bytes:
                _pass_over(source, 0)
                raise _too_large(max_bytes)
            yield piece
    except OSError:
        raise BadRequest("body_incomplete", "The body broke off.") from None
    if declared.isdecimal() and size < int(declared):
        raise BadRequest("body_incomplete", "The body broke off.")


def check_content_type(request: HasFields, raw: bytes, accepted: Collection[str] = (JSON,)) -> str:
    """The media type of the body, one of `accepted`; an empty body needs none. Raises UnsupportedMediaType.

    The only charset is UTF-8 (RFC 8259, section 8.1), and compressed bodies are not read here.
    """
    if not raw:
        return next(iter(accepted))
    media_type, parameters = _parsed_content_type(request.META.get("CONTENT_TYPE") or "")
    if media_type not in accepted:
        raise UnsupportedMediaType(f"The body must be {' or '.join(accepted)}.")
    if parameters.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
        raise UnsupportedMediaType("The body must be UTF-8.")
    if (request.META.get("HTTP_CONTENT_ENCODING") or "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("The body must not be compressed.")
    return media_type


@lru_cache(maxsize=256)
def _parsed_content_type(field: str) -> tuple[str, dict[str, str]]:
    return parse_header_parameters(field)


def _read_bounded(request: HttpRequest, max_bytes: int, *, declared: bool) -> bytes:
    source = _source(request, declared=declared)
    chunks: list[bytes] = []
    size = 0
    try:
        while chunk := source.read(_CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            if size > max_bytes:
                _pass_over(source, 0)
                raise _too_large(max_bytes)
    except OSError:
        raise BadRequest("body_incomplete", "The body broke off.") from None
    return b"".join(chunks)


def _source(request: HttpRequest, *, declared: bool) -> Any:
    """What to read the body from: the request, unless Django would take a body without a length for an empty one."""
    environ: dict[str, Any] = getattr(request, "environ", {})
    if not declared and environ.get("wsgi.input_terminated"):
        # This server says its stream has an end.
        return environ["wsgi.input"]
    return request


def _pass_over(source: Any, size: int) -> None:
    """Read what is left and forget it, unless that is more than anybody could have meant."""
    if size > _PASSED_OVER:
        return
    left = _PASSED_OVER
    try:
        while left > 0 and (chunk := source.read(_CHUNK)):
            left -= len(chunk)
    except OSError:
        return


def _too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"A body has at most {max_bytes} bytes.")
