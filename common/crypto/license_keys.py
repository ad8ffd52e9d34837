"""Licence keys for people: five groups of five symbols, read over a telephone and typed with two fingers.

Crockford's base 32 has no I, L, O and U; what looks like one of its symbols counts as it. The last symbol checks the
others (Luhn's formula modulo 32), which catches every single wrong symbol and nearly every swap of neighbours before
anything is looked up.
"""

import secrets
from typing import Final, NamedTuple

from common.crypto.peppers import current_pepper_id, peppered, peppers

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH: Final = 25  # 24 random symbols, 120 bits, and the check symbol
GROUP: Final = 5

_MAX_INPUT: Final = 128
_BASE: Final = len(ALPHABET)
_VALUES: Final = {symbol: value for value, symbol in enumerate(ALPHABET)}
# What people, word processors and mail programs put between the groups, and what they mistake for a symbol.
_SEPARATORS: Final = str.maketrans("", "", " -\t\r\n\u00a0\u2010\u2011\u2012\u2013\u2014\u2212\u202f")
_LOOK_ALIKES: Final = str.maketrans("OIL", "011")


class MintedLicenseKey(NamedTuple):
    """A new licence key. `text` is shown once; `digest` (32 bytes) and `pepper_id` are stored, `last4` may be shown."""

    text: str
    digest: bytes
    pepper_id: str
    last4: str


def mint_license_key() -> MintedLicenseKey:
    """Make a licence key from the system's randomness, hashed under the current pepper."""
    symbols = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH - 1))
    normalized = symbols + _check_symbol(symbols)
    text = "-".join(normalized[at : at + GROUP] for at in range(0, LENGTH, GROUP))
    pepper_id = current_pepper_id()
    return MintedLicenseKey(
        text=text,
        digest=_digest(normalized, pepper_id),
        pepper_id=pepper_id,
        last4=normalized[-4:],
    )


def normalize_license_key(text: str) -> str | None:
    """The 25 symbols that were meant, or None if this is no licence key or its check symbol does not hold."""
    if len(text) > _MAX_INPUT:
        return None
    symbols = text.translate(_SEPARATORS)
    # Only then upper case: some letters outside ASCII turn into ASCII ones by it.
    if not symbols.isascii():
        return None
    symbols = symbols.upper().translate(_LOOK_ALIKES)
    if len(symbols) != LENGTH or not all(symbol in _VALUES for symbol in symbols):
        return None
    return symbols if _check_symbol(symbols[:-1]) == symbols[-1] else None


def license_key_digests(normalized: str) -> list[tuple[str, bytes]]:
    """(pepper id, digest) under every pepper, the current one first: what to look a licence up by."""
    return [(pepper_id, _digest(normalized, pepper_id)) for pepper_id in peppers()]


def _digest(normalized: str, pepper_id: str) -> bytes:
    return peppered(b"license-key:" + normalized.encode(), pepper_id)


def _check_symbol(symbols: str) -> str:
    """Luhn modulo 32: every second value counts double, as the sum of its digits in base 32."""
    total = 0
    for place, symbol in enumerate(reversed(symbols)):
        value = _VALUES[symbol] * (2 if place % 2 == 0 else 1)
        total += value // _BASE + value % _BASE
    return ALPHABET[-total % _BASE]
