"""Ids: UUIDv7 inside, TypeIDs (`lic_01h455vb4pex5vsknk084sn02q`) outside.

A TypeID is a prefix, an underscore and the 128 bits of a UUID as 26 characters of Crockford's base 32 in lower case.
26 characters carry 130 bits, so the first one is never above 7.
"""

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = [first + second for first in ALPHABET for second in ALPHABET]  # two symbols at a time
_VALUES: Final = {symbol: value for value, symbol in enumerate(ALPHABET)}
_SUFFIX: Final = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}")
_ANY_ID: Final = re.compile(r"([a-z]{3})_([0-7][0-9a-hjkmnp-tv-z]{25})")


class Prefix(StrEnum):
    """The three letters that say what an id names."""

    TENANT = "ten"
    USER = "usr"
    MEMBERSHIP = "mbr"
    INVITATION = "inv"
    CUSTOMER = "cus"
    API_KEY = "key"
    AUDIT = "aud"
    MESSAGE = "msg"
    JOB = "job"
    PRODUCT = "prd"
    FEATURE = "fea"
    PLAN = "pln"
    GRANT = "gra"
    LICENSE = "lic"
    AGENT = "agt"
    AGENT_KEY = "agk"
    ACTIVATION = "act"
    SIGNING_KEY = "sgk"
    TOKEN = "tok"  # noqa: S105 - a prefix, not a secret
    METER = "mtr"
    QUOTA = "quo"
    PRICE = "pri"
    HOLD = "hld"
    EVENT = "evt"
    TOP_UP = "top"
    OVERAGE = "ovg"
    BALANCE = "bal"
    RUNAWAY_POLICY = "rwp"
    RUNAWAY_INCIDENT = "rwi"
    STATEMENT = "stm"
    ENDPOINT = "whe"
    DELIVERY = "dlv"


def new_id() -> UUID:
    """A new UUIDv7 (RFC 9562): unique, and in the order of its making within a process."""
    return uuid7()


def encode_id(prefix: str, value: UUID, /) -> str:
    """The public form of an id, such as `lic_01h455vb4pex5vsknk084sn02q`."""
    number = value.int
    # Written out: an answer to a batch shows a thousand ids, and a loop would cost twice as much.
    return (
        f"{prefix}_{_first_symbols(number >> 80)}{_PAIRS[number >> 70 & 1023]}{_PAIRS[number >> 60 & 1023]}"
        f"{_PAIRS[number >> 50 & 1023]}{_PAIRS[number >> 40 & 1023]}{_PAIRS[number >> 30 & 1023]}"
        f"{_PAIRS[number >> 20 & 1023]}{_PAIRS[number >> 10 & 1023]}{_PAIRS[number & 1023]}"
    )


def decode_id(prefix: str, text: str) -> UUID:
    """The UUID behind a public id of this prefix; ValueError for any other text, upper case included."""
    head, separator, suffix = text.partition("_")
    if head != prefix or not separator or not _SUFFIX.fullmatch(suffix):
        message = f"not an id that starts with {prefix}_"
        raise ValueError(message)
    return _decode_suffix(suffix)


def parse_any_id(text: str) -> tuple[str, UUID] | None:
    """Prefix and UUID if the whole text is a TypeID with a three-letter prefix, known to us or not; else None.

    This is the test that tells ids from codes: a code for which this is not None must be refused.
    """
    match = _ANY_ID.fullmatch(text)
    if match is None:
        return None
    return match[1], _decode_suffix(match[2])


@lru_cache(maxsize=1024)
def _first_symbols(milliseconds: int) -> str:
    """The first ten symbols. In a UUIDv7 they are its time, so ids that were made together have them in common."""
    return "".join([ALPHABET[milliseconds >> shift & 31] for shift in range(45, -1, -5)])


def _decode_suffix(suffix: str) -> UUID:
    number = 0
    for symbol in suffix:
        number = number << 5 | _VALUES[symbol]
    return UUID(int=number)
