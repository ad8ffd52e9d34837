"""Signed licences: what is in them, and the one function that says whether one holds, without asking anybody.

A signed licence is a JWT (RFC 7519) of type `license+jwt`, signed with Ed25519 by a key of the vendor's workspace.
Whoever has the workspace's key set can verify it; with a status list they also know of revocations since.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from licenses.domain.jose import InvalidToken, VerificationKeys, read_signed
from licenses.domain.status_list import StatusList, TokenStatus, check_times, instant, read_status_list

LICENSE_TYPE: Final = "license+jwt"

#: How far two clocks may be apart.
LEEWAY: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class VerifiedLicense:
    """A signed licence that holds.

    `status_age` is how old the status list was that it was held against; None: no list was at hand, so that a
    revocation since it was issued would go unnoticed.
    """

    claims: Mapping[str, Any]
    license_id: str
    subject: str
    token_id: str
    issued_at: datetime
    expires_at: datetime
    features: Mapping[str, Any]
    confirmation: Mapping[str, Any] | None
    status_uri: str | None
    status_age: timedelta | None

    @property
    def actors(self) -> list[str]:
        """Who acts (RFC 8693): the agent first, then those above it, who grant nothing by being named."""
        found: list[str] = []
        act = self.claims.get("act")
        while isinstance(act, Mapping) and isinstance(act.get("sub"), str):
            found.append(act["sub"])
            act = act.get("act")
        return found


def verify_license_token(
    token: str | bytes,
    jwks: VerificationKeys | Mapping[str, Any],
    *,
    at: datetime,
    audience: str,
    issuer: str,
    status_list: StatusList | str | bytes | None = None,
    max_status_age: timedelta | None = None,
    fingerprint: str | None = None,
    leeway: timedelta = LEEWAY,
) -> VerifiedLicense:
    """Say whether a signed licence holds at `at` for `audience`; all that is needed is given, nothing is asked for.

    `status_list` is the signed list that the token names (or one read before); `max_status_age` refuses an older one.
    `fingerprint` is the machine's own: a token that is bound to one holds on no other.
    Raises InvalidToken and nothing else: those of `read_signed`; `claims_malformed`, `issuer_mismatch`,
    `audience_mismatch`, `token_expired`, `token_not_yet_valid`, `token_from_future`, `fingerprint_mismatch`;
    those of `read_status_list`, `status_index_out_of_range`, `status_list_stale`, `license_revoked`,
    `license_suspended`.
    """
    keys = jwks if isinstance(jwks, VerificationKeys) else VerificationKeys.from_jwks(jwks)
    claims = read_signed(token, keys, typ=LICENSE_TYPE).claims
    if claims.get("iss") != issuer:
        raise InvalidToken("issuer_mismatch", "The license is of another issuer.")
    if not _is_for(claims.get("aud"), audience):
        raise InvalidToken("audience_mismatch", "The license is for another product.")
    issued_at, expires_at = _check_times(claims, at, leeway)
    bound_to = claims.get("fingerprint")
    if bound_to is not None and bound_to != fingerprint:
        raise InvalidToken("fingerprint_mismatch", "The license is bound to another machine.")
    uri, place = _status_of(claims)
    age: timedelta | None = None
    if status_list is not None:
        found = _the_list(status_list, keys, uri, at, leeway)
        age = found.age(at)
        if max_status_age is not None and age > max_status_age:
            seconds = int(age.total_seconds())
            raise InvalidToken("status_list_stale", f"The status list is {seconds} seconds old: fetch a new one.")
        _check_status(found.status_at(place))
    features = claims.get("features", {})
    confirmation = claims.get("cnf")
    return VerifiedLicense(
        claims=claims,
        license_id=_text(claims, "license"),
        subject=_text(claims, "sub"),
        token_id=_text(claims, "jti"),
        issued_at=issued_at,
        expires_at=expires_at,
        features=features if isinstance(features, Mapping) else {},
        confirmation=confirmation if isinstance(confirmation, Mapping) else None,
        status_uri=uri,
        status_age=age,
    )


def license_file(token: str, jwks: Mapping[str, Any], *, issuer: str, audience: str) -> str:
    """A signed licence with the keys that verify it, as a file: JSON, readable where no network is."""
    content = {"format": "permeter-license-1", "issuer": issuer, "audience": audience, "token": token, "jwks": jwks}
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _is_for(aud: Any, audience: str) -> bool:
    return aud == audience or (isinstance(aud, Sequence) and not isinstance(aud, str) and audience in aud)


def _check_times(claims: Mapping[str, Any], at: datetime, leeway: timedelta) -> tuple[datetime, datetime]:
    issued_at, expires_at = instant(claims.get("iat")), instant(claims.get("exp"))
    if issued_at is None or expires_at is None:
        raise InvalidToken("claims_malformed", "A license says when it was issued and when it ends.")
    if at >= expires_at + leeway:
        raise InvalidToken("token_expired", "The license's token has expired: fetch a new one.")
    if "nbf" in claims:
        begins_at = instant(claims["nbf"])
        if begins_at is None:
            raise InvalidToken("claims_malformed", "A license says when it begins.")
        if at < begins_at - leeway:
            raise InvalidToken("token_not_yet_valid", "The license has not begun.")
    if at < issued_at - leeway:
        raise InvalidToken("token_from_future", "The license was issued in the future: is this clock right?")
    return issued_at, expires_at


def _status_of(claims: Mapping[str, Any]) -> tuple[str, int]:
    status = claims.get("status")
    reference = status.get("status_list") if isinstance(status, Mapping) else None
    if isinstance(reference, Mapping):
        uri, place = reference.get("uri"), reference.get("idx")
        if isinstance(uri, str) and isinstance(place, int) and not isinstance(place, bool) and place >= 0:
            return uri, place
    raise InvalidToken("claims_malformed", "A license names its place in a status list.")


def _the_list(
    given: StatusList | str | bytes, keys: VerificationKeys, uri: str, at: datetime, leeway: timedelta
) -> StatusList:
    if not isinstance(given, StatusList):
        return read_status_list(given, keys, uri=uri, at=at, leeway=leeway)
    if given.uri != uri:
        raise InvalidToken("status_list_other_uri", "The status list is another one than the token names.")
    check_times(given, at=at, leeway=leeway)
    return given


def _check_status(status: int) -> None:
    match status:
        case TokenStatus.VALID:
            return
        case TokenStatus.SUSPENDED:
            raise InvalidToken("license_suspended", "The license is suspended, by the status list.")
        case _:
            raise InvalidToken("license_revoked", "The license was revoked, by the status list.")


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str):
        raise InvalidToken("claims_malformed", f"A license has the claim {name}.")
    return value
