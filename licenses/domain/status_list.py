"""Token Status Lists (draft-ietf-oauth-status-list): so many bits for each token, compressed, signed as a JWT."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Final

from licenses.domain.jose import InvalidToken, VerificationKeys, decode_base64url, encode_base64url, read_signed

STATUS_LIST_TYPE: Final = "statuslist+jwt"
MEDIA_TYPE: Final = "application/statuslist+jwt"

#: Bits a token: valid, revoked, suspended.
BITS: Final = 2
#: Places of a list: 32 KiB, most of it zeros, so that it travels in a few kilobytes.
PLACES: Final = 2**17

_MAX_BYTES: Final = 4 * 1024 * 1024


class TokenStatus(IntEnum):
    """What a list says of a token (section 7.1 of the draft)."""

    VALID = 0
    REVOKED = 1
    SUSPENDED = 2


def encode_statuses(statuses: Mapping[int, int], *, places: int, bits: int = BITS) -> bytes:
    """The packed statuses by place; a place that is not named is 0. From the least significant bit on."""
    a_byte = 8 // bits
    packed = bytearray(-(-places // a_byte))
    for place, status in statuses.items():
        packed[place // a_byte] |= status << (place % a_byte * bits)
    return bytes(packed)


def compress(packed: bytes) -> str:
    """`lst`: zlib (RFC 1950) at its best level, base64url without padding."""
    return encode_base64url(zlib.compress(packed, level=9))


def decompress(lst: str) -> bytes:
    """The packed statuses behind `lst`. Raises ValueError, also for what would be larger than any list."""
    reader = zlib.decompressobj()
    try:
        packed = reader.decompress(decode_base64url(lst), _MAX_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not reader.eof or reader.unconsumed_tail or reader.unused_data:
        raise ValueError("cut off, too long, or followed by something else")
    return packed


@dataclass(frozen=True, slots=True)
class StatusList:
    """A list that was checked: at which URI it stands, of when it is, how long it holds, and what it says."""

    uri: str
    issued_at: datetime
    expires_at: datetime | None
    time_to_live: timedelta | None
    bits: int
    packed: bytes

    def status_at(self, place: int) -> int:
        """What it says of a place. Raises InvalidToken `status_index_out_of_range`."""
        a_byte = 8 // self.bits
        if not 0 <= place < len(self.packed) * a_byte:
            raise InvalidToken("status_index_out_of_range", "The status list has no such place.")
        return self.packed[place // a_byte] >> (place % a_byte * self.bits) & ((1 << self.bits) - 1)

    def age(self, at: datetime) -> timedelta:
        """How old it is at `at`: what has changed since, it does not know."""
        return max(at - self.issued_at, timedelta(0))


def read_status_list(
    token: str | bytes, keys: VerificationKeys, *, uri: str | None = None, at: datetime, leeway: timedelta
) -> StatusList:
    """Check a signed status list; with `uri`, that it is the one that stands there.

    Raises InvalidToken: those of `read_signed`, `status_list_malformed`, `status_list_other_uri`,
    `status_list_expired`, `status_list_in_future`.
    """
    claims = read_signed(token, keys, typ=STATUS_LIST_TYPE).claims
    found = _list_of(claims)
    if uri is not None and found.uri != uri:
        raise InvalidToken("status_list_other_uri", "The status list is another one than the token names.")
    check_times(found, at=at, leeway=leeway)
    return found


def check_times(found: StatusList, *, at: datetime, leeway: timedelta) -> None:
    """Whether a list may still be relied on. Raises InvalidToken, saying how old it is."""
    if found.issued_at - leeway > at:
        raise InvalidToken("status_list_in_future", "The status list is of the future: is this clock right?")
    age = int(found.age(at).total_seconds())
    if found.expires_at is not None and at >= found.expires_at + leeway:
        raise InvalidToken("status_list_expired", f"The status list is {age} seconds old and has expired.")


def _list_of(claims: Mapping[str, Any]) -> StatusList:
    members = claims.get("status_list")
    if not isinstance(members, Mapping):
        raise _malformed()
    bits, lst, uri = members.get("bits"), members.get("lst"), claims.get("sub")
    if bits not in {1, 2, 4, 8} or isinstance(bits, bool) or not isinstance(lst, str) or not isinstance(uri, str):
        raise _malformed()
    issued_at, expires_at = instant(claims.get("iat")), instant(claims.get("exp"))
    ttl = claims.get("ttl")
    if issued_at is None or (expires_at is None and "exp" in claims):
        raise _malformed()
    if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, int) or not 0 < ttl < 10**9):
        raise _malformed()
    try:
        packed = decompress(lst)
    except ValueError:
        raise _malformed() from None
    return StatusList(uri, issued_at, expires_at, None if ttl is None else timedelta(seconds=ttl), bits, packed)


def instant(value: Any) -> datetime | None:
    """The instant of a NumericDate (RFC 7519); None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def _malformed() -> InvalidToken:
    return InvalidToken("status_list_malformed", "The status list is not as the draft demands.")
