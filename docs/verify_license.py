#!/usr/bin/env python3
"""Verify a signed licence, or a licence file, without a connection. Needs Python 3.9 or newer and `cryptography`.

    python verify_license.py LICENSE --jwks KEYS [--audience PRODUCT] [--issuer URL] [--fingerprint TEXT]
                             [--status-list LIST] [--at 2026-11-23T12:00:00Z] [--trust-file-keys]

LICENSE is a file: a licence file as the vendor exported it, or a token alone. KEYS is the vendor's key set
(`/t/{workspace}/.well-known/jwks.json`), fetched over a way that you trust or delivered with the software: whoever
forges a licence file can put keys of their own into it, so those in the file are used with `--trust-file-keys` only.
LIST is the signed status list that the licence names, if you have fetched it.

Prints what is licensed as JSON and ends with 0; or says on standard error why it does not hold, with a stable code,
and ends with 1. Ends with 2 where it was called wrongly.
"""

import argparse
import base64
import json
import sys
import zlib
from datetime import datetime, timezone
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LEEWAY = 60  # seconds that two clocks may be apart
MAX_TEXT = 512 * 1024
MAX_LIST = 4 * 1024 * 1024
ALGORITHMS = ("EdDSA", "Ed25519")


class NotValid(Exception):
    """Why it does not hold: a stable code and a sentence."""

    def __init__(self, code, detail):
        super().__init__(f"{code}: {detail}")


def decode(text):
    """base64url without padding, in its one spelling."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if base64.urlsafe_b64encode(data).rstrip(b"=").decode() == text:
            return data
    except ValueError:
        pass
    raise NotValid("token_malformed", "Not base64url without padding.")


def no_repeats(pairs):
    """A member that is named twice means different things to different readers."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def read_object(data, what):
    """A JSON object."""
    try:
        found = json.loads(data, object_pairs_hook=no_repeats)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise NotValid("token_malformed", f"The {what} is no JSON object.")
    return found


def read_keys(jwks):
    """The Ed25519 keys of a key set, by `kid`; what is no usable key is passed over."""
    found = {}
    members = jwks.get("keys") if isinstance(jwks, dict) else None
    for jwk in members if isinstance(members, list) else []:
        if isinstance(jwk, dict) and (jwk.get("kty"), jwk.get("crv")) == ("OKP", "Ed25519"):
            kid, x = jwk.get("kid"), jwk.get("x")
            if isinstance(kid, str) and isinstance(x, str):
                try:
                    found[kid] = Ed25519PublicKey.from_public_bytes(decode(x))
                except (NotValid, ValueError):
                    continue  # no usable key; the others may be
    if not found:
        raise NotValid("jwks_malformed", "The key set has no Ed25519 key.")
    return found


def read_signed(token, keys, typ):
    """The claims of a token of this type, if its signature holds. Algorithm and key are ours to choose."""
    parts = token.split(".")
    if len(token) > MAX_TEXT or len(parts) != 3 or not token.isascii():
        raise NotValid("token_malformed", "A signed token has three parts.")
    header = read_object(decode(parts[0]), "header")
    if header.get("typ") != typ:
        raise NotValid("token_type", f"Not of the type {typ}.")
    if header.get("alg") not in ALGORITHMS:
        raise NotValid("algorithm_not_allowed", "Not signed with Ed25519.")
    if "crit" in header or "b64" in header:
        raise NotValid("critical_header", "It demands an extension that is not known here.")
    kid = header.get("kid")
    if not isinstance(kid, str) or kid not in keys:
        raise NotValid("unknown_key", "Not signed with a key that is trusted here.")
    try:
        keys[kid].verify(decode(parts[2]), f"{parts[0]}.{parts[1]}".encode())
    except InvalidSignature:
        raise NotValid("signature_invalid", "The signature does not hold.") from None
    return read_object(decode(parts[1]), "payload")


def number(claims, name):
    """A claim that is a time, in seconds."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise NotValid("claims_malformed", f"The claim {name} is no time.")
    return value


def check_license(claims, at, audience, issuer, fingerprint):
    """Whether the claims hold here and now."""
    if issuer is not None and claims.get("iss") != issuer:
        raise NotValid("issuer_mismatch", "Of another issuer.")
    named = claims.get("aud")
    if audience is not None and audience not in (named if isinstance(named, list) else [named]):
        raise NotValid("audience_mismatch", "For another product.")
    if at >= number(claims, "exp") + LEEWAY:
        raise NotValid("token_expired", "It has expired.")
    if "nbf" in claims and at < number(claims, "nbf") - LEEWAY:
        raise NotValid("token_not_yet_valid", "It has not begun.")
    if at < number(claims, "iat") - LEEWAY:
        raise NotValid("token_from_future", "Issued in the future: is this clock right?")
    if claims.get("fingerprint") is not None and claims["fingerprint"] != fingerprint:
        raise NotValid("fingerprint_mismatch", "Bound to another machine.")


def check_status(claims, listed, at):
    """Whether the status list still has it as valid; answers how old the list is, in seconds."""
    try:
        reference = claims["status"]["status_list"]
        uri, place = reference["uri"], reference["idx"]
        bits, lst = listed["status_list"]["bits"], listed["status_list"]["lst"]
    except (KeyError, TypeError):
        raise NotValid("status_list_malformed", "The licence or the list lacks its status.") from None
    if listed.get("sub") != uri:
        raise NotValid("status_list_other_uri", "Another list than the one that the licence names.")
    issued = number(listed, "iat")
    if issued - LEEWAY > at:
        raise NotValid("status_list_in_future", "The list is of the future: is this clock right?")
    if "exp" in listed and at >= number(listed, "exp") + LEEWAY:
        raise NotValid("status_list_expired", f"The list is {int(at - issued)} seconds old and has expired.")
    if bits not in (1, 2, 4, 8) or not isinstance(lst, str) or not isinstance(place, int):
        raise NotValid("status_list_malformed", "The list is not as the draft demands.")
    try:
        packed = zlib.decompressobj().decompress(decode(lst), MAX_LIST)
    except zlib.error:
        raise NotValid("status_list_malformed", "The list cannot be unpacked.") from None
    a_byte = 8 // bits
    if not 0 <= place < len(packed) * a_byte:
        raise NotValid("status_index_out_of_range", "The list has no such place.")
    status = packed[place // a_byte] >> (place % a_byte * bits) & ((1 << bits) - 1)
    if status == 2:
        raise NotValid("license_suspended", "Suspended, by the status list.")
    if status:
        raise NotValid("license_revoked", "Revoked, by the status list.")
    return max(0, int(at - issued))


def verify(arguments):
    """What is licensed. Raises NotValid."""
    text = Path(arguments.license).read_text(encoding="utf-8").strip()
    content = read_object(text, "licence file") if text.startswith("{") else {"token": text}
    if arguments.jwks:
        keys = read_keys(read_object(Path(arguments.jwks).read_text(encoding="utf-8"), "key set"))
    else:
        keys = read_keys(content.get("jwks"))
    at = datetime.now(timezone.utc) if arguments.at is None else arguments.at
    claims = read_signed(str(content.get("token")), keys, "license+jwt")
    # What the file says of itself is the word of whoever wrote it: the verifier's own word goes first.
    audience = arguments.audience or content.get("audience")
    issuer = arguments.issuer or content.get("issuer")
    check_license(claims, at.timestamp(), audience, issuer, arguments.fingerprint)
    age = None
    if arguments.status_list:
        signed = Path(arguments.status_list).read_text(encoding="utf-8").strip()
        age = check_status(claims, read_signed(signed, keys, "statuslist+jwt"), at.timestamp())
    return {"valid": True, "status_list_age": age, "claims": claims}


def moment(text):
    """A time as in RFC 3339."""
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if found.tzinfo is None:
        raise ValueError(text)
    return found


def main():
    """Read the arguments, verify, say so."""
    parser = argparse.ArgumentParser(description="Verify a signed licence without a connection.")
    parser.add_argument("license", help="a licence file, or a file with a token")
    keys = parser.add_mutually_exclusive_group(required=True)
    keys.add_argument("--jwks", help="the vendor's key set, from a source that you trust")
    keys.add_argument("--trust-file-keys", action="store_true", help="believe the keys in the licence file itself")
    parser.add_argument("--audience", help="the product that this is")
    parser.add_argument("--issuer", help="the vendor's address, such as https://permeter.example/t/acme")
    parser.add_argument("--fingerprint", help="this machine's own")
    parser.add_argument("--status-list", help="the signed status list that the licence names")
    parser.add_argument("--at", type=moment, help="instead of now")
    try:
        print(json.dumps(verify(parser.parse_args()), indent=2, sort_keys=True))
    except NotValid as refused:
        print(refused, file=sys.stderr)
        return 1
    except (OSError, UnicodeDecodeError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
