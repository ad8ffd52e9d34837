"""What the door needs of a request before its body: which operation it asks for, and its header fields.

The door serves the plain case only. Whatever is unusual (fields sent twice, a browser's `Origin`, a body without a
length or too large, a host that is not ours) goes to Django, which knows how to refuse it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from common.http_json import MAX_BODY
from common.requests import request_id_from

_PREFIX = "/agent/v1/"


class Operation(StrEnum):
    """The endpoints that are answered for many callers at once."""

    VALIDATE = "validate"
    AUTHORIZE = "authorize"
    USAGE = "usage"
    SETTLE = "settle"
    RELEASE = "release"
    EXTEND = "extend"


_OF_HOLDS = {operation.value: operation for operation in (Operation.SETTLE, Operation.RELEASE, Operation.EXTEND)}
_OPERATIONS = {_PREFIX + operation: operation for operation in Operation if operation not in _OF_HOLDS}
_HOLDS = _PREFIX + "holds/"

#: As a WSGI server names header fields.
_CONTENT = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}

#: A field whose name WSGI could not tell from another's.
_AMBIGUOUS = "_"

#: With one of these it is not the plain case.
_UNUSUAL = {"HTTP_ORIGIN", "HTTP_TRANSFER_ENCODING", "HTTP_EXPECT", _AMBIGUOUS}


class Head:
    """A request's header fields, by the names that Django's requests have them under, so that both read them alike.

    `hold` is the one of the path that names one.
    """

    __slots__ = ("META", "hold", "operation", "path", "request_id")

    def __init__(self, operation: Operation, path: str, hold: str, meta: dict[str, Any]) -> None:
        self.operation = operation
        self.path = path
        self.hold = hold
        self.META = meta
        self.request_id = request_id_from(meta.get("HTTP_X_REQUEST_ID"))


def read_head(scope: Mapping[str, Any]) -> Head | None:
    """The head of a request that this door serves; None for one that Django should look at."""
    operation, hold = _target(scope["path"])
    if operation is None or scope["method"] != "POST" or scope.get("root_path") or settings.USE_X_FORWARDED_HOST:
        return None
    headers = scope["headers"]
    meta: dict[str, Any] = {_name(name): value.decode("latin1") for name, value in headers}
    if len(meta) < len(headers) or not _UNUSUAL.isdisjoint(meta):
        return None
    # By HTTP/1.1 there is no body without a length; by HTTP/2 there may be one, of any size.
    length = meta.get("CONTENT_LENGTH", "0" if scope.get("http_version", "1.1") < "2" else "")
    if not length.isdecimal() or int(length) > MAX_BODY or not _is_ours(meta.get("HTTP_HOST", "")):
        return None
    client = scope.get("client")
    meta["REMOTE_ADDR"] = client[0] if client else ""
    return Head(operation, scope["path"], hold, meta)


def _target(path: str) -> tuple[Operation | None, str]:
    """What a path asks for, and of which hold."""
    operation = _OPERATIONS.get(path)
    if operation is not None or not path.startswith(_HOLDS):
        return operation, ""
    hold, _, action = path.removeprefix(_HOLDS).partition("/")
    return (_OF_HOLDS.get(action) if hold else None), hold


@lru_cache(maxsize=1024)
def _name(name: bytes) -> str:
    if b"_" in name:
        return _AMBIGUOUS
    return _CONTENT.get(name) or "HTTP_" + name.decode("latin1").upper().replace("-", "_")


@lru_cache(maxsize=1024)
def _is_ours(host: str) -> bool:
    allowed = settings.ALLOWED_HOSTS
    if not allowed and settings.DEBUG:
        return False
    domain, _port = split_domain_port(host)
    return bool(domain) and validate_host(domain, allowed)
