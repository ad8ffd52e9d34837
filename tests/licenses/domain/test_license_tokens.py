from __future__ import annotations

import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from licenses.domain.jose import MAX_TOKEN, InvalidToken, VerificationKeys
from licenses.domain.license_tokens import VerifiedLicense, license_file, verify_license_token
from licenses.domain.status_list import read_status_list
from tests.licenses.domain.tokens import (
    AT,
    ISSUER,
    JWKS,
    KEY,
    KID,
    NOW,
    URI,
    b64,
    claims,
    jwk,
    part,
    signed,
    status_list,
)

SECOND = timedelta(seconds=1)
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(reversed(range(32))))


def verify(token: Any, **more: Any) -> VerifiedLicense:
    return verify_license_token(
        token, more.pop("jwks", JWKS), **{"at": AT, "audience": "researcher", "issuer": ISSUER, **more}
    )


def code_of(token: Any, **more: Any) -> str:
    with pytest.raises(InvalidToken) as refused:
        verify(token, **more)
    assert refused.value.detail
    return refused.value.code


def test_verify__good_token__says_what_is_licensed() -> None:
    found = verify(signed(claims()))

    assert (found.license_id, found.subject, found.token_id) == ("lic_1", "agt_1", "tok_1")
    assert found.features == {"web_search": True}
    assert found.actors == ["agt_1", "agt_0"]
    assert (found.issued_at, found.expires_at) == (AT, AT + timedelta(hours=1))
    assert (found.status_uri, found.status_age) == (URI, None)


@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519"])
def test_verify__either_name_of_the_algorithm__is_taken(algorithm: str) -> None:
    assert verify(signed(claims(), {"alg": algorithm})).license_id == "lic_1"


def test_verify__alg_none__is_refused() -> None:
    unsigned = f"{part({'alg': 'none', 'kid': KID, 'typ': 'license+jwt'})}.{part(claims())}."

    assert code_of(unsigned) == "algorithm_not_allowed"
    assert code_of(signed(claims(), {"alg": "None"})) == "algorithm_not_allowed"


@pytest.mark.parametrize(
    "secret",
    [
        KEY.public_key().public_bytes_raw(),
        KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(jwk()).encode(),
    ],
)
def test_verify__hmac_with_the_public_key__is_refused(secret: bytes) -> None:
    text = f"{part({'alg': 'HS256', 'kid': KID, 'typ': 'license+jwt'})}.{part(claims())}"
    token = f"{text}.{b64(hmac.digest(secret, text.encode(), 'sha256'))}"

    assert code_of(token) == "algorithm_not_allowed"
    relabelled = f"{part({'alg': 'EdDSA', 'kid': KID, 'typ': 'license+jwt'})}.{part(claims())}"
    token = f"{relabelled}.{b64(hmac.digest(secret, relabelled.encode(), 'sha256'))}"
    assert code_of(token) == "signature_invalid"


@pytest.mark.parametrize(
    "smuggled",
    [
        {"jwk": jwk(STRANGER)},
        {"jku": "https://stranger.example/jwks.json"},
        {"x5u": "https://stranger.example/chain.pem"},
        {"x5c": ["MIIB"]},
    ],
)
def test_verify__key_in_the_header__is_not_looked_at(smuggled: dict[str, Any]) -> None:
    assert code_of(signed(claims(), smuggled, STRANGER)) == "signature_invalid"
    assert code_of(signed(claims(), {**smuggled, "kid": "their-key"}, STRANGER)) == "unknown_key"
    assert verify(signed(claims(), smuggled)).license_id == "lic_1"


@pytest.mark.parametrize("kid", ["key-2", "", ..., None, 1, ["key-1"], {"kid": KID}, "../key-1"])
def test_verify__foreign_kid__is_refused(kid: Any) -> None:
    assert code_of(signed(claims(), {"kid": kid})) == "unknown_key"


@pytest.mark.parametrize("typ", ["JWT", "statuslist+jwt", "LICENSE+JWT", "application/license+jwt", "", ..., None, 1])
def test_verify__wrong_typ__is_refused(typ: Any) -> None:
    assert code_of(signed(claims(), {"typ": typ})) == "token_type"


@pytest.mark.parametrize("header", [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": False}, {"crit": None}])
def test_verify__critical_header__is_refused(header: dict[str, Any]) -> None:
    assert code_of(signed(claims(), header)) == "critical_header"


def test_verify__expired__is_refused_from_a_minute_after_its_end_on() -> None:
    token = signed(claims())
    end = AT + timedelta(hours=1)

    assert verify(token, at=end + timedelta(seconds=59)).license_id == "lic_1"
    assert code_of(token, at=end + timedelta(seconds=60)) == "token_expired"
    assert code_of(token, at=end, leeway=timedelta(0)) == "token_expired"
    assert verify(token, at=end - SECOND, leeway=timedelta(0)).license_id == "lic_1"


def test_verify__not_yet_valid__is_refused_until_a_minute_before_its_beginning() -> None:
    token = signed(claims(nbf=NOW + 600))

    assert code_of(token, at=AT + timedelta(seconds=539)) == "token_not_yet_valid"
    assert verify(token, at=AT + timedelta(seconds=540)).license_id == "lic_1"


def test_verify__issued_in_the_future__is_refused() -> None:
    token = signed(claims(iat=NOW + 61, nbf=...))

    assert code_of(token) == "token_from_future"
    assert verify(token, at=AT + SECOND).license_id == "lic_1"
    assert verify(signed(claims(nbf=...))).license_id == "lic_1"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_verify__tampered__is_refused(place: int) -> None:
    parts = signed(claims()).split(".")
    for position in range(0, len(parts[place]), 7):
        letter = parts[place][position]
        changed = parts.copy()
        changed[place] = parts[place][:position] + ("A" if letter != "A" else "B") + parts[place][position + 1 :]
        assert code_of(".".join(changed)) in {
            "signature_invalid",
            "token_malformed",
            "token_type",
            "algorithm_not_allowed",
            "unknown_key",
        }


def test_verify__payload_of_another_token__is_refused() -> None:
    mine, other = signed(claims()).split("."), signed(claims(features={"all": True})).split(".")

    assert code_of(".".join([mine[0], other[1], mine[2]])) == "signature_invalid"


@pytest.mark.parametrize(
    ("aud", "fits"),
    [
        ("researcher", True),
        (["other", "researcher"], True),
        ("researcher2", False),
        (["other"], False),
        ([], False),
        ("", False),
        (..., False),
        (None, False),
        ({"researcher": 1}, False),
    ],
)
def test_verify__audience__is_exactly_that_of_the_verifier(aud: Any, fits: bool) -> None:
    token = signed(claims(aud=aud))

    assert verify(token).license_id == "lic_1" if fits else code_of(token) == "audience_mismatch"


@pytest.mark.parametrize("iss", [f"{ISSUER}/", "https://stranger.example/t/acme", "", ..., None, [ISSUER]])
def test_verify__wrong_issuer__is_refused(iss: Any) -> None:
    assert code_of(signed(claims(iss=iss))) == "issuer_mismatch"


@pytest.mark.parametrize(
    "broken",
    [
        {"exp": ...},
        {"iat": ...},
        {"exp": "soon"},
        {"exp": True},
        {"exp": 1e300},
        {"iat": 10**30},
        {"nbf": "now"},
        {"jti": ...},
        {"sub": 5},
        {"license": None},
        {"status": ...},
        {"status": {}},
        {"status": {"status_list": {"idx": -1, "uri": URI}}},
        {"status": {"status_list": {"idx": True, "uri": URI}}},
        {"status": {"status_list": {"idx": "5", "uri": URI}}},
        {"status": {"status_list": {"idx": 5}}},
    ],
)
def test_verify__claims_that_are_none__are_refused(broken: dict[str, Any]) -> None:
    assert code_of(signed(claims(**broken))) == "claims_malformed"


def test_verify__bound_to_a_machine__holds_there_only() -> None:
    token = signed(claims(fingerprint="host-7"))

    assert verify(token, fingerprint="host-7").license_id == "lic_1"
    assert code_of(token, fingerprint="host-8") == "fingerprint_mismatch"
    assert code_of(token) == "fingerprint_mismatch"
    assert verify(signed(claims()), fingerprint="host-7").license_id == "lic_1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "é.é.é",
        b"\xff.\xff.\xff",
        f"{part({'typ': 'license+jwt'})}=.e30.AA",
        f"{part(b'[]')}.e30.AA",
        f"{part(b'nope')}.e30.AA",
        f"{part(b'[' * 100_000)}.e30.AA",
        part(b'{"typ": NaN}') + ".e30.AA",
        part(b'{"alg": "none", "alg": "EdDSA"}') + ".e30.AA",
        None,
        7,
    ],
)
def test_verify__no_token_at_all__is_malformed(text: Any) -> None:
    assert code_of(text) == "token_malformed"


@pytest.mark.parametrize("number", [0, 3, 2**40, 2**62, 2**200, -1])
def test_verify__number__is_malformed_and_takes_no_memory(number: int) -> None:
    assert code_of(number) == "token_malformed"


def test_verify__payload_that_is_no_object__is_malformed() -> None:
    for payload in (b"[]", b"5", b"{", b"\xff", b'{"iss": 1, "iss": 2}', b"9" * 5000):
        assert code_of(signed(payload)) == "token_malformed"


def test_verify__huge_text__is_not_even_read() -> None:
    assert code_of("a" * (MAX_TOKEN + 1)) == "token_too_large"
    assert code_of(b"." * (MAX_TOKEN + 1)) == "token_too_large"


def test_verify__padding_or_another_spelling__is_refused() -> None:
    first, middle, last = signed(claims()).split(".")

    for other in (f"{first}.{middle}.{last}==", f"{first}.{middle}.{last} ", f" {first}.{middle}.{last}"):
        assert code_of(other) in {"token_malformed", "signature_invalid"}


@pytest.mark.parametrize(
    "jwks",
    [
        {"keys": []},
        {"keys": [jwk(use="enc")]},
        {"keys": [jwk(alg="HS256")]},
        {"keys": [{**jwk(), "kty": "oct", "k": "AA"}]},
        {"keys": [{**jwk(), "crv": "X25519"}]},
        {"keys": [{**jwk(), "x": "AA"}]},
        {"keys": [{**jwk(), "x": 5}]},
        {"keys": [5, None, "key"]},
    ],
)
def test_verify__key_set_without_a_usable_key__knows_no_key(jwks: Any) -> None:
    assert code_of(signed(claims()), jwks=jwks) == "unknown_key"


@pytest.mark.parametrize("jwks", [{}, {"keys": {}}, [], None, "keys", 5])
def test_verify__no_key_set__is_malformed(jwks: Any) -> None:
    assert code_of(signed(claims()), jwks=jwks) == "jwks_malformed"


# --- with a status list -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "code"), [(1, "license_revoked"), (2, "license_suspended"), (3, "license_revoked")])
def test_verify__by_its_status__is_refused(status: int, code: str) -> None:
    token = signed(claims())

    assert code_of(token, status_list=status_list({5: status})) == code
    assert verify(token, status_list=status_list({4: status, 6: status})).status_age == timedelta(0)


def test_verify__old_status_list__says_how_old_and_is_refused_where_too_old() -> None:
    token, old = signed(claims()), status_list(iat=NOW - 90)

    assert verify(token, status_list=old).status_age == timedelta(seconds=90)
    assert verify(token, status_list=old, max_status_age=timedelta(seconds=90)).license_id == "lic_1"
    with pytest.raises(InvalidToken, match="90 seconds old") as refused:
        verify(token, status_list=old, max_status_age=timedelta(seconds=89))
    assert refused.value.code == "status_list_stale"


def test_verify__expired_status_list__is_refused_and_its_age_stated() -> None:
    expired = status_list(iat=NOW - 4000, exp=NOW - 60)

    with pytest.raises(InvalidToken, match="4000 seconds old") as refused:
        verify(signed(claims()), status_list=expired)
    assert refused.value.code == "status_list_expired"
    assert verify(signed(claims()), status_list=status_list(iat=NOW - 4000, exp=NOW - 59)).license_id == "lic_1"


def test_verify__status_list_of_another_address__is_refused() -> None:
    other = status_list(sub=f"{ISSUER}/status-lists/2")

    assert code_of(signed(claims()), status_list=other) == "status_list_other_uri"
    keys = VerificationKeys.from_jwks(JWKS)
    read = read_status_list(other, keys, at=AT, leeway=timedelta(0))
    assert code_of(signed(claims()), status_list=read) == "status_list_other_uri"


def test_verify__index_outside_the_list__is_refused() -> None:
    reference = {"status_list": {"idx": 64, "uri": URI}}

    assert code_of(signed(claims(status=reference)), status_list=status_list()) == "status_index_out_of_range"
    reference["status_list"]["idx"] = 63
    assert verify(signed(claims(status=reference)), status_list=status_list()).license_id == "lic_1"
    reference["status_list"]["idx"] = 10**40
    assert code_of(signed(claims(status=reference)), status_list=status_list()) == "status_index_out_of_range"


def test_verify__status_list_read_before__is_held_to_its_times_each_time() -> None:
    keys = VerificationKeys.from_jwks(JWKS)
    read = read_status_list(status_list({9: 1}), keys, uri=URI, at=AT, leeway=timedelta(0))
    token = signed(claims(exp=NOW + 10 * 86400))

    assert verify(token, jwks=keys, status_list=read).status_age == timedelta(0)
    assert code_of(token, jwks=keys, status_list=read, at=AT + timedelta(days=2)) == "status_list_expired"


def test_verify__status_list_in_place_of_a_token__is_refused() -> None:
    assert code_of(status_list()) == "token_type"
    assert code_of(signed(claims()), status_list=signed(claims())) == "token_type"


def test_license_file__read_back__has_all_that_a_verifier_needs() -> None:
    content = json.loads(license_file(signed(claims()), JWKS, issuer=ISSUER, audience="researcher"))

    found = verify(content["token"], jwks=content["jwks"], issuer=content["issuer"], audience=content["audience"])
    assert found.license_id == "lic_1"


# --- whatever comes ---------------------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_CLAIM = st.sampled_from(
    ["iss", "aud", "iat", "exp", "nbf", "jti", "license", "status", "features", "act", "cnf", "sub"]
)


@given(st.text() | st.binary() | _JSON)
def test_verify__garbage__raises_nothing_but_its_own_error(text: Any) -> None:
    with pytest.raises(InvalidToken):
        verify(text)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "jwk"]), _JSON), _JSON)
def test_verify__any_header_and_payload__raises_nothing_but_its_own_error(header: Any, payload: Any) -> None:
    with pytest.raises(InvalidToken):
        verify(signed(payload, header))


@given(st.dictionaries(_CLAIM, _JSON, min_size=1))
def test_verify__any_claims_by_the_issuer__hold_or_raise_its_own_error(changed: Any) -> None:
    try:
        found = verify(signed(claims(**changed)), status_list=status_list())
    except InvalidToken:
        return
    assert found.license_id == {**claims(), **changed}["license"]
    assert isinstance(found.actors, list)


@given(st.dictionaries(st.sampled_from(["iat", "exp", "ttl", "sub", "status_list", "iss"]), _JSON, min_size=1))
def test_verify__any_list_by_the_issuer__holds_or_raises_its_own_error(changed: Any) -> None:
    try:
        verify(signed(claims()), status_list=status_list(**changed))
    except InvalidToken:
        return


@given(_JSON)
def test_verify__any_key_set__raises_nothing_but_its_own_error(jwks: Any) -> None:
    with pytest.raises(InvalidToken):
        verify(signed(claims()), jwks={"keys": jwks})
