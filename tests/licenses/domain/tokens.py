"""Tokens and lists as an issuer, or somebody who would like to be one, makes them: by hand, without the code itself."""

from __future__ import annotations

import json
import zlib
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ISSUER = "https://permeter.example/t/acme"
URI = f"{ISSUER}/status-lists/1"
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOW = int(AT.timestamp())
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KID = "key-1"


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def part(value: Any) -> str:
    return b64(value if isinstance(value, bytes) else json.dumps(value).encode())


def jwk(key: Ed25519PrivateKey = KEY, kid: str = KID, **more: Any) -> dict[str, Any]:
    return {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(key.public_key().public_bytes_raw()), **more}


JWKS = {"keys": [jwk(use="sig", alg="EdDSA")]}


def claims(**more: Any) -> dict[str, Any]:
    made = {
        "iss": ISSUER,
        "sub": "agt_1",
        "aud": "researcher",
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 3600,
        "jti": "tok_1",
        "license": "lic_1",
        "features": {"web_search": True},
        "act": {"sub": "agt_1", "act": {"sub": "agt_0"}},
        "status": {"status_list": {"idx": 5, "uri": URI}},
        **more,
    }
    return {name: value for name, value in made.items() if value is not ...}


def signed(payload: Any, header: dict[str, Any] | None = None, key: Ed25519PrivateKey = KEY) -> str:
    made = {"alg": "EdDSA", "kid": KID, "typ": "license+jwt", **(header or {})}
    text = f"{part({name: value for name, value in made.items() if value is not ...})}.{part(payload)}"
    return f"{text}.{b64(key.sign(text.encode()))}"


def status_list(statuses: dict[int, int] | None = None, *, places: int = 64, **more: Any) -> str:
    """A list of two bits a place, packed without the code at test: one digit to base 4 for each place."""
    number = sum(status * 4**place for place, status in (statuses or {}).items())
    lst = b64(zlib.compress(number.to_bytes(places // 4, "little"), 9))
    made = {"iss": ISSUER, "sub": URI, "iat": NOW, "exp": NOW + 86400, "ttl": 300}
    made |= {"status_list": {"bits": 2, "lst": lst}, **more}
    payload = {name: value for name, value in made.items() if value is not ...}
    return signed(payload, {"typ": "statuslist+jwt"})
