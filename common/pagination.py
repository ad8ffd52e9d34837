"""Pages of a list, newest first, by an opaque cursor: rows that come in meanwhile make no page skip or repeat any."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet

from common.errors import Invalid

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_TIME_BYTES: Final = 8
_CURSOR_BYTES: Final = _TIME_BYTES + 16

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
) -> Page[M]:
    """A page of the queryset in the order of (time, id), newest first, after the place that the cursor names.

    The queryset's own order is replaced. An index over (tenant, time, id) serves it. Raises Invalid on `cursor`.
    """
    if cursor:
        at, row_id = decode_cursor(cursor)
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
        next_cursor=encode_cursor(getattr(last, time_field), last.id),
    )


def encode_cursor(at: datetime, row_id: UUID) -> str:
    """The place of a row, exact to the microsecond, as 32 characters that are safe in a URL."""
    microseconds = (at - _EPOCH) // _MICROSECOND
    return _encode(microseconds.to_bytes(_TIME_BYTES, "big", signed=True) + row_id.bytes)


def decode_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Time and id behind a cursor. Raises Invalid on the field `cursor`."""
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii"))
        if len(raw) == _CURSOR_BYTES and _encode(raw) == cursor:
            at = _EPOCH + int.from_bytes(raw[:_TIME_BYTES], "big", signed=True) * _MICROSECOND
            return at, UUID(bytes=raw[_TIME_BYTES:])
    except (binascii.Error, ValueError, OverflowError):
        pass
    raise Invalid.field("cursor", "invalid", "This is no cursor that was handed out here.")


def _encode(raw: bytes) -> str:
    """The text form of a cursor; decoding compares with it, since lenient decoders skip foreign characters."""
    return urlsafe_b64encode(raw).decode()
