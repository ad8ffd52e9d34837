"""Bodies of requests to this door: strict JSON objects whose numbers stay exact."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from django.http import HttpRequest
from rest_framework.fields import empty

from common.errors import BadRequest, Invalid
from common.http_json import check_content_type, read_body
from common.json_decoding import parse_strictly
from vendor_api.serializers.base import Body


def read_object(request: HttpRequest, body: type[Body], *, apart: str | None = None) -> dict[str, Any]:
    """The JSON object that was sent; an empty body is `{}` where `body` asks for nothing.

    Entries of the list called `apart` are looked at by whoever reads them.
    Raises PayloadTooLarge, UnsupportedMediaType, BadRequest and Invalid.
    """
    raw = read_body(request)
    check_content_type(request, raw)
    if not raw.strip():
        if _demands_something(body):
            raise BadRequest("malformed_json", "The body is empty.")
        return {}
    if not isinstance(parse_strictly(raw, apart=apart), dict):
        raise Invalid.field("", "wrong_type", "Expected an object.")
    # A second pass, since the strict one reads fractions as floats: `0.1` must stay a tenth.
    sent: dict[str, Any] = json.loads(raw, parse_float=Decimal)
    return sent


def checked(body: type[Body], sent: dict[str, Any], *, changes: bool) -> dict[str, Any]:
    """The fields of a body, decoded. Raises a validation error that names each field at fault."""
    serializer = body(data=sent, changes=changes)
    serializer.is_valid(raise_exception=True)
    fields: dict[str, Any] = serializer.validated_data
    return fields


def _demands_something(body: type[Body]) -> bool:
    return any(field.required and field.default is empty for field in body().fields.values())
