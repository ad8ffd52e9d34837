"""Reading signed tokens (JWS compact, RFC 7515) with Ed25519 keys (RFC 8037), strictly and without any I/O.

The algorithm follows from the key that the issuer publishes, never from the token's word, and a key comes from the
key set, never from the token. What does not hold raises `InvalidToken` and nothing else.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwt.algorithms import OKPAlgorithm

#: Both names mean the same for an Ed25519 key: RFC 8037 has the old one, RFC 9864 the new one.
ALGORITHMS: Final = frozenset({"EdDSA", "Ed25519"})

#: Longer texts are no tokens of ours, and are not even decoded. A status list of 2^20 places fits.
MAX_TOKEN: Final = 512 * 1024

_ED25519: Final = OKPAlgorithm()


class InvalidToken(Exception):
    """Why a token, a status list or a key set is not accepted; `code` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class VerificationKeys:
    """An issuer's Ed25519 keys by `kid`, parsed once and used for any number of tokens."""

    by_kid: Mapping[str, Ed25519PublicKey]

    @classmethod
    def from_jwks(cls, jwks: Any) -> "VerificationKeys":
        """The usable keys of a JWK set (RFC 7517); others, and those of other kinds, are passed over.

        Raises InvalidToken `jwks_malformed`.
        """
        members = jwks.get("keys") if isinstance(jwks, Mapping) else None
        if not isinstance(members, list):
            raise InvalidToken("jwks_malformed", "A key set is an object with a list of keys.")
        found: dict[str, Ed25519PublicKey] = {}
        for jwk in members:
            if not isinstance(jwk, Mapping) or jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
                continue
            if jwk.get("use", "sig") != "sig" or jwk.get("alg", "EdDSA") not in ALGORITHMS:
                continue
            kid, x = jwk.get("kid"), jwk.get("x")
            if not isinstance(kid, str) or not isinstance(x, str):
                continue
            try:
                found[kid] = Ed25519PublicKey.from_public_bytes(decode_base64url(x))
            except ValueError:
                continue
        return cls(found)


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A token whose signature holds: its header and claims. Nothing is said of its times yet."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]


def read_signed(token: str | bytes, keys: VerificationKeys, *, typ: str) -> SignedToken:
    """Check a token's form, its kind (`typ`) and its signature.

    Raises InvalidToken: `token_too_large`, `token_malformed`, `token_type`, `algorithm_not_allowed`,
    `critical_header`, `unknown_key`, `signature_invalid`.
    """
    data = _bytes_of(token)
    signed, dot, last = data.rpartition(b".")
    first, middle, payload = signed.partition(b".")
    if not dot or not middle or b"." in payload:
        raise InvalidToken("token_malformed", "A signed token has three parts.")
    header = _object(first, "header")
    if header.get("typ") != typ:
        raise InvalidToken("token_type", f"The token is not of the kind {typ}.")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise InvalidToken("algorithm_not_allowed", "The token is not signed with Ed25519.")
    if "crit" in header or "b64" in header:
        # RFC 7515 4.1.11: what is critical and not understood must be refused, and nothing is understood here.
        raise InvalidToken("critical_header", "The token demands an extension that is not known here.")
    kid = header.get("kid")
    key = keys.by_kid.get(kid) if isinstance(kid, str) else None
    if key is None:
        raise InvalidToken("unknown_key", "The token is not signed with a key of this issuer.")
    if not _ED25519.verify(signed, key, _decoded(last, "signature")):
        raise InvalidToken("signature_invalid", "The token's signature does not hold.")
    return SignedToken(header, _object(payload, "payload"))


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """The SHA-256 thumbprint of a public key (RFC 7638): over its required members, in order, without spaces."""
    required = {"OKP": ("crv", "kty", "x"), "EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}
    members = {name: jwk[name] for name in required[jwk["kty"]]}
    return encode_base64url(sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest())


def encode_base64url(data: bytes) -> str:
    """base64url without padding (RFC 7515 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_base64url(text: str | bytes) -> bytes:
    """The bytes of base64url without padding. Raises ValueError for anything else, other spellings included."""
    data = text.encode("ascii") if isinstance(text, str) else text
    decoded = urlsafe_b64decode(data + b"=" * (-len(data) % 4))
    # The decoder skips what is no base64 at all and bits that no byte needs: one value, one spelling.
    if urlsafe_b64encode(decoded).rstrip(b"=") != data:
        raise ValueError("not base64url without padding")
    return decoded


def _bytes_of(token: str | bytes) -> bytes:
    try:
        # Nothing but text is made into bytes: `bytes` of a number would be as many zeros.
        data = token.encode("ascii") if isinstance(token, str) else memoryview(token).tobytes()
    except (UnicodeEncodeError, TypeError):
        raise InvalidToken("token_malformed", "A token is ASCII text.") from None
    if len(data) > MAX_TOKEN:
        raise InvalidToken("token_too_large", "The text is too long to be a token.")
    return data


def _decoded(part: bytes, name: str) -> bytes:
    try:
        return decode_base64url(part)
    except ValueError:
        raise InvalidToken("token_malformed", f"The token's {name} is not base64url.") from None


def _object(part: bytes, name: str) -> Mapping[str, Any]:
    try:
        found = json.loads(_decoded(part, name), parse_constant=_no_constant, object_pairs_hook=_unrepeated)
    except (ValueError, RecursionError):
        raise InvalidToken("token_malformed", f"The token's {name} is not JSON.") from None
    if not isinstance(found, dict):
        raise InvalidToken("token_malformed", f"The token's {name} is not an object.")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A member that is named twice means one thing to one reader and another to the next."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is named twice")
    return found
