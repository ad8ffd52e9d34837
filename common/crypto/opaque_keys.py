"""Opaque keys for programs: `pm_ak_<id>_<secret><checksum>`, in test workspaces `pm_test_ak_...`.

The id is looked up, the secret is compared as HMAC-SHA256 under a pepper. Kind and checksum let secret scanners
recognise a leaked key, and let a mistyped one be refused without a look at the database.
"""

import hmac
import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from zlib import crc32

from common.crypto.peppers import current_pepper_id, peppered, peppers

BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_LENGTH: Final = 12
SECRET_LENGTH: Final = 32  # 190 bits
CHECKSUM_LENGTH: Final = 6  # 62^6 holds the 32 bits of a CRC


class KeyKind(StrEnum):
    """Who carries the key."""

    AGENT = "ak"
    SECRET = "sk"  # noqa: S105 - a kind, not a secret
    PUBLISHABLE = "pk"


_KEY: Final = re.compile(
    rf"pm_(test_)?(ak|sk|pk)_([0-9A-Za-z]{{{ID_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A new key. `text` is shown once and never stored; `hint` (at most 16 characters) may be shown for ever."""

    text: str = field(repr=False)
    key_id: str
    digest: bytes = field(repr=False)
    pepper_id: str
    hint: str


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """A key that is well formed. Nothing says yet that it is anybody's."""

    kind: KeyKind
    test: bool
    key_id: str
    secret: str = field(repr=False)


def mint_key(kind: KeyKind, *, test: bool) -> MintedKey:
    """Make a key from the system's randomness, hashed under the current pepper."""
    parsed = ParsedKey(kind=kind, test=test, key_id=_random(ID_LENGTH), secret=_random(SECRET_LENGTH))
    body = _body(parsed)
    text = body + _checksum(body)
    digest, pepper_id = digest_key(parsed)
    return MintedKey(
        text=text,
        key_id=parsed.key_id,
        digest=digest,
        pepper_id=pepper_id,
        hint=f"{_lead(parsed)}…{text[-4:]}",
    )


def parse_key(text: str) -> ParsedKey | None:
    """The parts of a key whose form and checksum hold, else None."""
    match = _KEY.fullmatch(text)
    if match is None:
        return None
    parsed = ParsedKey(
        kind=KeyKind(match[2]),
        test=match[1] is not None,
        key_id=match[3],
        secret=match[4],
    )
    return parsed if _checksum(_body(parsed)) == match[5] else None


def digest_key(parsed: ParsedKey) -> tuple[bytes, str]:
    """What to store for a key: (digest of 32 bytes, id of the current pepper)."""
    return digest_under(parsed, current_pepper_id())


def digest_under(parsed: ParsedKey, pepper_id: str) -> tuple[bytes, str]:
    """A key's digest under one of the peppers, and that pepper's id. KeyError for an unknown one."""
    return peppered(_message(parsed), pepper_id), pepper_id


def verify_key(parsed: ParsedKey, digest: bytes | memoryview | None, pepper_id: str | None) -> bool:
    """Whether the key is the one that was stored, in constant time.

    Give None where no key with this id is stored: the same work is done and the answer is no, so that timing does not
    tell which ids exist.
    """
    known = pepper_id is not None and pepper_id in peppers()
    expected = peppered(
        _message(parsed),
        pepper_id if known and pepper_id is not None else current_pepper_id(),
    )
    stored = bytes(digest) if digest is not None else bytes(len(expected))
    return hmac.compare_digest(expected, stored) and known and digest is not None


def _lead(parsed: ParsedKey) -> str:
    return f"pm_{'test_' if parsed.test else ''}{parsed.kind}_"


def _body(parsed: ParsedKey) -> str:
    return f"{_lead(parsed)}{parsed.key_id}_{parsed.secret}"


def _message(parsed: ParsedKey) -> bytes:
    # All of the key, not the secret alone: a digest copied to another row, kind or workspace verifies nothing.
    return _body(parsed).encode()


def _checksum(body: str) -> str:
    number = crc32(body.encode())
    symbols = []
    for _ in range(CHECKSUM_LENGTH):
        number, remainder = divmod(number, len(BASE62))
        symbols.append(BASE62[remainder])
    return "".join(reversed(symbols))


def _random(length: int) -> str:
    return "".join(secrets.choice(BASE62) for _ in range(length))
