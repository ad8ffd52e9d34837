import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadRequest
from common.requests import bearer_token_from, idempotency_key_from, request_id_from


@pytest.mark.parametrize("header", ["a", "req-1.2:3_4", "x" * 128])
def test_request_id_from__sane__is_echoed(header: str) -> None:
    assert request_id_from(header) == header


@pytest.mark.parametrize("header", [None, "", "x" * 129, "a b", "a,b", "a\n", "ü", "<script>"])
def test_request_id_from__none_or_not_sane__is_made_anew(header: str | None) -> None:
    made = request_id_from(header)
    assert re.fullmatch(r"[0-9a-f]{32}", made)
    assert made != request_id_from(header)


def test_idempotency_key_from__no_field__is_none() -> None:
    assert idempotency_key_from(None) is None


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ('"8e03978e-40d5-43e8-bc93-6894a57f9324"', "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        (' "a" ', "a"),
        ('"a, b"', "a, b"),
        (r'"a\"b\\c"', r'a"b\c'),
        ("x" * 255, "x" * 255),
        ('"' + "x" * 255 + '"', "x" * 255),
        ("order:42/§"[:8], "order:42"),
    ],
)
def test_idempotency_key_from__quoted_or_bare__is_the_key(header: str, key: str) -> None:
    assert idempotency_key_from(header) == key


@pytest.mark.parametrize(
    "header",
    [
        "",
        '""',
        " ",
        "x" * 256,
        '"' + "x" * 256 + '"',
        "a,b",
        '"a","b"',
        '"a',
        'a"',
        "a b",
        '"ü"',
        "ü",
        '"a\tb"',
        r'"a\n"',
        '"a";p=1',
    ],
)
def test_idempotency_key_from__malformed__is_a_bad_request(header: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        idempotency_key_from(header)
    assert (refusal.value.status, refusal.value.code) == (400, "idempotency_key_invalid")


@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255))
def test_idempotency_key_from__any_printable_text_quoted__round_trips(key: str) -> None:
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert idempotency_key_from(quoted) == key


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer pm_ak_x", "pm_ak_x"),
        ("bearer  pm_ak_x ", "pm_ak_x"),
        ("BEARER a.b-c~d+e/f==", "a.b-c~d+e/f=="),
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic abc", None),
        ("pm_ak_x", None),
        ("Bearer a b", None),
        ("Bearer a,Bearer b", None),
        ("Bearer é", None),
    ],
)
def test_bearer_token_from__header__gives_the_one_token(header: str | None, token: str | None) -> None:
    assert bearer_token_from(header) == token
