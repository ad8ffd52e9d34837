"""What requests bring in their header fields: an id, an idempotency key, a bearer key.

A field that was sent twice arrives as one, joined by a comma.
"""

import re
from typing import Final
from uuid import uuid4

from common.errors import BadRequest

MAX_IDEMPOTENCY_KEY: Final = 255

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_QUOTED: Final = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
# No comma: two fields that were joined must not pass for one key. Quoted keys may hold one.
_BARE: Final = re.compile(r"[\x21\x23-\x2b\x2d-\x7e]+")
_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


def request_id_from(header: str | None) -> str:
    """The client's own request id if it is sane (1 to 128 letters, digits, `._:-`), else a new one."""
    if header and _REQUEST_ID.fullmatch(header):
        return header
    return uuid4().hex


def idempotency_key_from(header: str | None) -> str | None:
    """The key of an Idempotency-Key field: a structured-field string, that is quoted, or bare, as many send it.

    None without the field. Raises BadRequest `idempotency_key_invalid` where it is empty, malformed or over 255 long.
    """
    if header is None:
        return None
    value = header.strip(" \t")
    if match := _QUOTED.fullmatch(value):
        key = re.sub(r"\\(.)", r"\1", match[1])
    else:
        key = value if _BARE.fullmatch(value) else ""
    if not 0 < len(key) <= MAX_IDEMPOTENCY_KEY:
        raise BadRequest(
            "idempotency_key_invalid",
            f"An idempotency key is one text of 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters.",
        )
    return key


def bearer_token_from(header: str | None) -> str | None:
    """The token of an Authorization field of the Bearer scheme (RFC 6750); None where there is none or several."""
    match = _BEARER.fullmatch((header or "").strip(" \t"))
    return match[1] if match else None
