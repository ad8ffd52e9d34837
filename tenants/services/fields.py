"""Checks of single fields that every service shares: each gives the value back as it is stored, or raises Invalid.

The doors check shapes before; here is what must hold whoever writes, be it a door, the admin or a worker.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_network
from typing import Any, Final, TypeVar
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from common.canonical import canonical_json
from common.clock import real_clock
from common.currencies import CURRENCIES
from common.errors import Invalid
from common.ids import parse_any_id
from common.text import TextError, check_text
from tenants.domain.slugs import RESERVED_SLUGS

MAX_METADATA_KEYS: Final = 50
MAX_METADATA_BYTES: Final = 16 * 1024
MAX_METADATA_KEY: Final = 64
MAX_REASON: Final = 500
MAX_RATE_LIMITS: Final = 10
MAX_RATE: Final = 1_000_000_000
MAX_WINDOW: Final = 366 * 24 * 60 * 60
MAX_NETWORKS: Final = 100
#: What PostgreSQL's integer holds.
MAX_INTEGER: Final = 2_147_483_647

_CODE: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_SLUG: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")

E = TypeVar("E", bound=StrEnum)


def text(value: Any, field: str, *, max_length: int = 200, blank: bool = False, multiline: bool = False) -> str:
    """A text without control characters; blank only where that is allowed."""
    if not isinstance(value, str):
        raise Invalid.field(field, "invalid", "This is a text.")
    try:
        check_text(value, max_length=max_length, multiline=multiline)
    except TextError as error:
        raise Invalid.field(field, error.code, error.detail) from None
    if not blank and not value.strip():
        raise Invalid.field(field, "blank", "Say something here; it cannot be empty.")
    return value


def reason(value: str) -> str:
    """Why somebody did something: up to 500 characters, in several lines if need be."""
    return text(value, "reason", max_length=MAX_REASON, blank=True, multiline=True)


def code(value: Any, field: str = "code") -> str:
    """The name of a thing in requests: lower case, and never to be mistaken for an id."""
    if not isinstance(value, str) or not _CODE.fullmatch(value):
        detail = "A code is 1 to 64 of a-z, 0-9, '_', '.' and '-', and begins with a letter or digit."
        raise Invalid.field(field, "invalid", detail)
    return _not_an_id(value, field)


def external_id(value: Any, field: str = "external_id") -> str:
    """The vendor's own name for a customer: any text up to 200 that is not one of our ids."""
    return _not_an_id(text(value, field), field)


def slug(value: Any, field: str = "slug") -> str:
    """A workspace's place in URLs."""
    if not isinstance(value, str) or not _SLUG.fullmatch(value):
        detail = "A slug is 1 to 63 of a-z, 0-9 and '-', and neither begins nor ends with '-'."
        raise Invalid.field(field, "invalid", detail)
    if value in RESERVED_SLUGS:
        raise Invalid.field(field, "reserved", f"'{value}' names a page of the dashboard. Take another slug.")
    return value


def email(value: Any, field: str = "email") -> str:
    """An e-mail address, or nothing."""
    address = text(value, field, max_length=254, blank=True)
    if address:
        try:
            validate_email(address)
        except ValidationError:
            raise Invalid.field(field, "invalid", "This is no e-mail address.") from None
    return address


def integer(value: Any, field: str, *, least: int = 0, most: int = MAX_INTEGER) -> int:
    """A whole number within bounds, both included."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Invalid.field(field, "invalid", f"This is a whole number from {least} to {most}.")
    return value


def optional_integer(value: Any, field: str, *, least: int = 0, most: int = MAX_INTEGER) -> int | None:
    """A whole number within bounds, or None."""
    return None if value is None else integer(value, field, least=least, most=most)


def boolean(value: Any, field: str) -> bool:
    """True or false, nothing that merely looks so."""
    if not isinstance(value, bool):
        raise Invalid.field(field, "invalid", "This is true or false.")
    return value


def member(value: Any, field: str, enum: type[E]) -> E:
    """One of the words of an enum."""
    try:
        return enum(value)
    except ValueError:
        raise Invalid.field(field, "invalid", f"This is one of {', '.join(enum)}.") from None


def instant(value: Any, field: str) -> datetime:
    """An aware time, in UTC."""
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise Invalid.field(field, "invalid", "This is a time with its offset from UTC, such as 2026-11-23T09:00:00Z.")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise Invalid.field(field, "invalid", "This time lies outside the years 1 to 9999.") from None


def optional_instant(value: Any, field: str) -> datetime | None:
    """An aware time in UTC, or None."""
    return None if value is None else instant(value, field)


def key_expiry(value: Any, field: str = "expires_at") -> datetime | None:
    """When a key ends, in real time; None is never."""
    end = optional_instant(value, field)
    if end is not None and end <= real_clock().now():
        raise Invalid.field(field, "in_the_past", "A key expires in the future. Revoke it to end it now.")
    return end


def timezone(value: Any, field: str = "timezone") -> str:
    """A name of the IANA database."""
    if value not in available_timezones():
        raise Invalid.field(field, "invalid", "This is no timezone of the IANA database, such as Europe/Berlin.")
    return str(value)


def currency(value: Any, field: str = "currency") -> str:
    """A code of ISO 4217, in capitals."""
    if not isinstance(value, str) or value not in CURRENCIES:
        raise Invalid.field(field, "invalid", "A currency is a code of ISO 4217 in capitals, such as USD.")
    return value


def metadata(value: Any, field: str = "metadata") -> dict[str, Any]:
    """A flat map of text to text, number, bool or null: at most 50 keys, 16 KiB; None is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Invalid.field(field, "invalid", "Metadata is a flat map.")
    if len(value) > MAX_METADATA_KEYS:
        raise Invalid.field(field, "too_many", f"Metadata has at most {MAX_METADATA_KEYS} keys.")
    for key, entry in value.items():
        text(key, field, max_length=MAX_METADATA_KEY)
        if isinstance(entry, str):
            text(entry, f"{field}.{key}", max_length=MAX_METADATA_BYTES, blank=True, multiline=True)
        elif entry is not None and not isinstance(entry, bool | int | float):
            raise Invalid.field(f"{field}.{key}", "invalid", "A value is a text, a number, true, false or null.")
    try:
        size = len(canonical_json(dict(value)))
    except ValueError:
        raise Invalid.field(field, "invalid", "Metadata holds a number that has no JSON form.") from None
    if size > MAX_METADATA_BYTES:
        raise Invalid.field(field, "too_long", f"Metadata is at most {MAX_METADATA_BYTES} bytes of JSON.")
    return dict(value)


def rate_limits(
    value: Any, field: str = "rate_limits", *, levels: Collection[str] = (), most: int = MAX_RATE_LIMITS
) -> list[dict[str, Any]]:
    """`[{"limit", "window", "burst"}]`, with a `"level"` in each where `levels` names some; burst is limit by default.

    A window may stand once only per level: of two limits the looser one would never matter.
    """
    found: list[dict[str, Any]] = []
    for place, entry in entries(value, field, most=most):
        known = {"limit", "window", "burst", *(("level",) if levels else ())}
        only_keys(entry, place, known)
        limit = integer(entry.get("limit"), f"{place}.limit", least=1, most=MAX_RATE)
        window = integer(entry.get("window"), f"{place}.window", least=1, most=MAX_WINDOW)
        burst = optional_integer(entry.get("burst"), f"{place}.burst", least=1, most=MAX_RATE)
        kept: dict[str, Any] = {"limit": limit, "window": window, "burst": limit if burst is None else burst}
        if levels:
            level = entry.get("level")
            if level not in levels:
                raise Invalid.field(f"{place}.level", "invalid", f"A level is one of {', '.join(levels)}.")
            kept = {"level": str(level), **kept}
        if any((other.get("level"), other["window"]) == (kept.get("level"), window) for other in found):
            raise Invalid.field(f"{place}.window", "duplicate", "There is a limit with this window already.")
        found.append(kept)
    return found


def networks(value: Any, field: str = "networks") -> list[str]:
    """Address ranges that a key may be used from, in canonical form."""
    found = []
    for place, entry in items(value, field, most=MAX_NETWORKS):
        try:
            network = str(ip_network(entry, strict=False)) if isinstance(entry, str) and "%" not in entry else None
        except ValueError:
            network = None
        if network is None:
            raise Invalid.field(place, "invalid", "This is no address range, such as 192.0.2.0/24.")
        found.append(network)
    return list(dict.fromkeys(found))


def texts(value: Any, field: str, *, most: int, max_length: int = 200) -> list[str]:
    """A list of different texts."""
    found = [text(entry, place, max_length=max_length) for place, entry in items(value, field, most=most)]
    for index, entry in enumerate(found):
        if entry in found[:index]:
            raise Invalid.field(f"{field}.{index}", "duplicate", "This stands here twice.")
    return found


def items(value: Any, field: str, *, most: int) -> list[tuple[str, Any]]:
    """Each entry of a list with its path."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise Invalid.field(field, "invalid", "This is a list.")
    if len(value) > most:
        raise Invalid.field(field, "too_many", f"At most {most} entries.")
    return [(f"{field}.{index}", entry) for index, entry in enumerate(value)]


def entries(value: Any, field: str, *, most: int) -> list[tuple[str, Mapping[str, Any]]]:
    """Each map of a list with its path, such as `grants.0`."""
    found = items(value, field, most=most)
    for place, entry in found:
        if not isinstance(entry, Mapping):
            raise Invalid.field(place, "invalid", "Each entry is a map.")
    return found


def only_keys(entry: Mapping[str, Any], field: str, known: Collection[str]) -> None:
    """Refuse what nobody reads: it would be taken for done."""
    for key in entry:
        if key not in known:
            raise Invalid.field(f"{field}.{key}", "unknown_field", f"Known here are {', '.join(sorted(known))}.")


def immutable(value: Any, current: Any, field: str) -> None:
    """Let a field that never changes be sent again as it is."""
    if value != current:
        raise Invalid.field(field, "immutable", "This cannot be changed; make a new one instead.")


def _not_an_id(value: str, field: str) -> str:
    if parse_any_id(value) is not None:
        raise Invalid.field(field, "invalid", "This reads like an id, and could not be told from one. Choose another.")
    return value
