from __future__ import annotations

import json
import zlib
from base64 import urlsafe_b64decode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt import PyJWS
from jwt.algorithms import ECAlgorithm

from licenses.domain.jose import InvalidToken, VerificationKeys, decode_base64url, read_signed, thumbprint
from licenses.domain.status_list import compress, decompress, encode_statuses, read_status_list
from tests.licenses.domain.tokens import AT, JWKS, NOW, URI, b64, jwk, part, signed, status_list
from tests.vectors import jose_vectors

KEYS = VerificationKeys.from_jwks(JWKS)
VECTORS = jose_vectors()["token_status_list"]["vectors"]


def read(token: str, **more: Any) -> Any:
    return read_status_list(token, KEYS, **{"uri": URI, "at": AT, "leeway": timedelta(seconds=60), **more})


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_statuses__of_the_draft__are_packed_and_read_alike(vector: Any) -> None:
    statuses = {int(place): status for place, status in vector["statuses"].items()}
    packed = encode_statuses(statuses, places=vector["size"], bits=vector["bits"])

    # Compressors differ; what they hold does not.
    assert decompress(vector["lst"]) == packed
    assert decompress(compress(packed)) == packed
    lst = {"bits": vector["bits"], "lst": vector["lst"]}
    found = read(status_list(status_list=lst))
    assert {place: found.status_at(place) for place in statuses} == statuses
    untouched = next(place for place in range(vector["size"]) if place not in statuses) if vector["size"] > 16 else None
    assert untouched is None or found.status_at(untouched) == vector["others"]
    with pytest.raises(InvalidToken):
        found.status_at(vector["size"])


def test_statuses__one_byte__begin_at_the_least_significant_bit() -> None:
    assert encode_statuses({0: 1, 1: 2, 3: 3}, places=4) == bytes([0b11_00_10_01])
    assert encode_statuses({4: 2}, places=5) == bytes([0, 0b10])


def test_compress__output__is_zlib_without_padding() -> None:
    text = compress(bytes(32768))

    assert "=" not in text
    assert zlib.decompress(urlsafe_b64decode(text + "=" * (-len(text) % 4))) == bytes(32768)


@given(st.dictionaries(st.integers(0, 999), st.integers(0, 3)), st.sampled_from([2, 4, 8]))
def test_statuses__any__come_back(statuses: dict[int, int], bits: int) -> None:
    lst = {"bits": bits, "lst": compress(encode_statuses(statuses, places=1000, bits=bits))}
    found = read(status_list(status_list=lst))

    assert [found.status_at(place) for place in range(1000)] == [statuses.get(place, 0) for place in range(1000)]


@pytest.mark.parametrize(
    "broken",
    [
        {"status_list": ...},
        {"status_list": {"bits": 2}},
        {"status_list": {"bits": 3, "lst": "eNrbuRgAAhcBXQ"}},
        {"status_list": {"bits": True, "lst": "eNrbuRgAAhcBXQ"}},
        {"status_list": {"bits": 2, "lst": "eNrbuRgAAhcBXQ=="}},
        {"status_list": {"bits": 2, "lst": "AAAA"}},
        {"status_list": {"bits": 2, "lst": "eNrbuRgA"}},
        {"status_list": {"bits": 2, "lst": b64(zlib.compress(b"a") + b"more")}},
        {"status_list": {"bits": 2, "lst": b64(zlib.compress(bytes(5 * 1024 * 1024)))}},
        {"sub": ...},
        {"iat": ...},
        {"exp": "never"},
        {"ttl": -1},
        {"ttl": "long"},
    ],
)
def test_read__list_that_is_none__is_malformed(broken: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken) as refused:
        read(status_list(**broken))
    assert refused.value.code == "status_list_malformed"


def test_read__bomb__is_refused_without_being_unpacked() -> None:
    bomb = zlib.compress(bytes(200 * 1024 * 1024), 9)

    with pytest.raises(ValueError, match="too long"):
        decompress(b64(bomb))


def test_read__of_the_future__is_refused() -> None:
    with pytest.raises(InvalidToken) as refused:
        read(status_list(iat=NOW + 61))
    assert refused.value.code == "status_list_in_future"
    assert read(status_list(iat=NOW + 60)).age(AT) == timedelta(0)


def test_read__without_an_end__holds() -> None:
    found = read(status_list(exp=..., ttl=...))

    assert (found.expires_at, found.time_to_live) == (None, None)


def test_read__example_of_the_draft__is_as_its_own_key_signed_it() -> None:
    """ES256 is not taken here; so its signature is judged by PyJWT, and its content by what reads ours."""
    example = jose_vectors()["token_status_list"]["statuslist_jwt_es256"]
    payload = PyJWS().decode(example["jwt"], ECAlgorithm.from_jwk(example["jwk_public"]), algorithms=["ES256"])

    assert json.loads(payload) == example["payload"]
    again = signed(example["payload"], {"typ": "statuslist+jwt"})
    found = read_status_list(again, KEYS, uri=example["payload"]["sub"], at=AT, leeway=timedelta(0))
    assert found.issued_at == datetime.fromtimestamp(1686920170, UTC)
    assert found.time_to_live == timedelta(seconds=43200)
    assert [found.status_at(place) for place in range(16)] == [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]
    with pytest.raises(InvalidToken) as refused:
        read_status_list(example["jwt"], KEYS, at=AT, leeway=timedelta(0))
    assert refused.value.code == "algorithm_not_allowed"


def test_thumbprint__of_the_rfcs__is_the_same() -> None:
    for name in ("rfc7638", "rfc8037"):
        vector = jose_vectors()[name]
        assert thumbprint(vector["jwk"]) == vector["thumbprint_sha256"]


def test_read_signed__example_of_rfc_8037__its_signature_holds() -> None:
    vector = jose_vectors()["rfc8037"]
    first, middle, last = vector["jws"].split(".")
    keys = VerificationKeys.from_jwks({"keys": [{**vector["jwk"], "kid": "rfc"}]})

    keys.by_kid["rfc"].verify(decode_base64url(last), f"{first}.{middle}".encode())
    with pytest.raises(InvalidToken) as refused:
        read_signed(vector["jws"], keys, typ="license+jwt")
    assert refused.value.code == "token_type"


def test_jwk__for_a_second_key__is_chosen_by_kid() -> None:
    both = VerificationKeys.from_jwks({"keys": [jwk(kid="other"), *JWKS["keys"], part]})

    assert sorted(both.by_kid) == ["key-1", "other"]
