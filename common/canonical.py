"""One sequence of bytes for one meaning: what hashes and comparisons of payloads are made of."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from uuid import UUID

from common.quantities import format_quantity


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces.

    Decimals become strings without trailing zeros, times RFC 3339 in UTC, UUIDs their text, so that equal values give
    equal bytes. Raises ValueError for NaN and infinities and for lone surrogates, TypeError for what has no JSON form.
    """
    return json.dumps(
        value,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
        default=_plain,
    ).encode()


def digest16(*parts: bytes) -> UUID:
    """16 bytes of BLAKE2b over the parts, each led by its length, so that ("ab", "c") and ("a", "bc") differ."""
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return UUID(bytes=digest.digest())


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        if not value.is_finite():
            message = "only finite decimals have a canonical form"
            raise ValueError(message)
        return format_quantity(value)
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            message = "only aware times have a canonical form"
            raise ValueError(message)
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, UUID):
        return str(value)
    message = f"{type(value).__name__} has no canonical form"
    raise TypeError(message)
