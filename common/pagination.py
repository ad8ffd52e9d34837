"""Pages of a list, newest first, by an opaque cursor: rows that come in meanwhile make no page skip or repeat any.

A cursor is bound to the list that it was handed out for, with its filters: elsewhere it would skip rows unseen.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet

from common.errors import Invalid

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_TIME_BYTES: Final = 8
_PLACE_BYTES: Final = _TIME_BYTES + 16
_BINDING_BYTES: Final = 6

T = TypeVar("T")
M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and the cursor of those after them (None: there are no more)."""

    items: list[T]
    next_cursor: str | None


def parse_limit(raw: str | None) -> int:
    """The `limit` of a query string: 1 to 200, 50 if there is none. Raises Invalid on the field `limit`."""
    if raw is None or raw == "":
        return DEFAULT_LIMIT
    if not (raw.isascii() and raw.isdigit() and len(raw) <= len(str(MAX_LIMIT)) and 1 <= int(raw) <= MAX_LIMIT):
        raise Invalid.field("limit", "invalid", f"A limit is a whole number from 1 to {MAX_LIMIT}.")
    return int(raw)


def paginate(
    queryset: QuerySet[M, M],
    *,
    limit: int,
    cursor: str | None,
    time_field: str = "created_at",
    bound_to: str = "",
) -> Page[M]:
    """A page of the queryset in the order of (time, id), newest first, after the place that the cursor names.

    `bound_to` names the list and whatever it is filtered by; a cursor of another one is refused.

    The queryset's own order is replaced. An index over (tenant, time, id) serves it. Raises Invalid on `cursor`.
    """
    if cursor:
        at, row_id = decode_cursor(cursor, bound_to=bound_to)
        # The first condition alone bounds an index scan; the second settles equal times.
        queryset = queryset.filter(
            Q(**{f"{time_field}__lte": at}),
            Q(**{f"{time_field}__lt": at}) | Q(id__lt=row_id),
        )
    rows: list[M] = list(queryset.order_by(f"-{time_field}", "-id")[: limit + 1])
    if len(rows) <= limit:
        return Page(items=rows, next_cursor=None)
    last: Any = rows[limit - 1]
    return Page(
        items=rows[:limit],
        next_cursor=encode_cursor(getattr(last, time_field), last.id, bound_to=bound_to),
    )


def encode_cursor(at: datetime, row_id: UUID, *, bound_to: str = "") -> str:
    """The place of a row in a list, exact to the microsecond, as 40 characters that are safe in a URL."""
    microseconds = (at - _EPOCH) // _MICROSECOND
    place = microseconds.to_bytes(_TIME_BYTES, "big", signed=True) + row_id.bytes
    return _encode(place + _binding(bound_to))


def decode_cursor(cursor: str, *, bound_to: str = "") -> tuple[datetime, UUID]:
    """Time and id behind a cursor of this list. Raises Invalid on the field `cursor`: `invalid`, or `other_list`."""
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii"))
        if len(raw) == _PLACE_BYTES + _BINDING_BYTES and _encode(raw) == cursor:
            at = _EPOCH + int.from_bytes(raw[:_TIME_BYTES], "big", signed=True) * _MICROSECOND
            place = at, UUID(bytes=raw[_TIME_BYTES:_PLACE_BYTES])
            if raw[_PLACE_BYTES:] == _binding(bound_to):
                return place
            detail = "This cursor is of another list, or of other filters. Begin anew without it."
            raise Invalid.field("cursor", "other_list", detail)
    except (binascii.Error, ValueError, OverflowError):
        pass
    raise Invalid.field("cursor", "invalid", "This is no cursor that was handed out here.")


def _binding(bound_to: str) -> bytes:
    return blake2b(bound_to.encode(), digest_size=_BINDING_BYTES).digest()


def _encode(raw: bytes) -> str:
    """The text form of a cursor; decoding compares with it, since lenient decoders skip foreign characters."""
    return urlsafe_b64encode(raw).decode()
