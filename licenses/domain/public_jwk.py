"""Holders' public keys (RFC 7517), as they are sent to be bound to a token (RFC 7800)."""

from collections.abc import Mapping
from typing import Any, Final

from jwt import PyJWTError
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from licenses.domain.jose import decode_base64url

#: The members that make up a public key, by kind; others that were sent are left out of the token.
_PUBLIC: Final = {"OKP": ("kty", "crv", "x"), "EC": ("kty", "crv", "x", "y"), "RSA": ("kty", "n", "e")}
_CURVES: Final = {"OKP": {"Ed25519"}, "EC": {"P-256", "P-384", "P-521"}}
_SECRET: Final = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
_READERS: Final[dict[str, Any]] = {"OKP": OKPAlgorithm, "EC": ECAlgorithm, "RSA": RSAAlgorithm}
_RSA_BITS: Final = (2048, 8192)


class JwkFault(ValueError):
    """Why this is no public key that a token can be bound to; `code` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def public_jwk(sent: Mapping[str, Any]) -> dict[str, str]:
    """The public members of a JWK: Ed25519, ECDSA on a NIST curve, or RSA of 2048 to 8192 bits. Raises JwkFault."""
    kind = sent.get("kty")
    if kind == "oct":
        raise JwkFault("jwk_not_public", "This is a shared secret: send the public half of a key pair.")
    if not isinstance(kind, str) or kind not in _PUBLIC:
        raise JwkFault("jwk_malformed", "The key is of kind OKP (Ed25519), EC or RSA.")
    if secret := sorted(_SECRET & sent.keys()):
        detail = f"The key carries private members ({', '.join(secret)}): send its public half only, and replace it."
        raise JwkFault("jwk_not_public", detail)
    members: dict[str, str] = {}
    for name in _PUBLIC[kind]:
        value = sent.get(name)
        if not isinstance(value, str) or len(value) > 2048:
            raise JwkFault("jwk_malformed", f"The key has no {name}.")
        members[name] = value
    if kind in _CURVES and members["crv"] not in _CURVES[kind]:
        raise JwkFault("jwk_malformed", f"Its curve is one of {', '.join(sorted(_CURVES[kind]))}.")
    try:
        for name in members.keys() - {"kty", "crv"}:
            decode_base64url(members[name])
        key: Any = _READERS[kind].from_jwk(dict(members))
    except (ValueError, TypeError, PyJWTError):
        raise JwkFault("jwk_malformed", "The key's numbers are no public key.") from None
    if kind == "RSA" and not _RSA_BITS[0] <= key.key_size <= _RSA_BITS[1]:
        raise JwkFault("jwk_malformed", f"An RSA key has {_RSA_BITS[0]} to {_RSA_BITS[1]} bits.")
    return members
