import re
from zlib import crc32

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from common.crypto import KeyKind, current_pepper_id, digest_key, mint_key, parse_key, verify_key
from common.crypto.opaque_keys import BASE62

KINDS = [(kind, test) for kind in KeyKind for test in (False, True)]


@pytest.fixture(autouse=True)
def peppers(settings: Settings) -> None:
    settings.PERMETER_KEY_PEPPERS = {"2": "the current pepper", "1": "an older pepper"}


@pytest.mark.parametrize(("kind", "test"), KINDS)
def test_mint_key__any_kind__reads_as_it_should(kind: KeyKind, test: bool) -> None:
    minted = mint_key(kind, test=test)
    lead = f"pm_{'test_' if test else ''}{kind}_"
    assert re.fullmatch(rf"{lead}[0-9A-Za-z]{{12}}_[0-9A-Za-z]{{38}}", minted.text)
    assert minted.text.startswith(f"{lead}{minted.key_id}_")
    assert (len(minted.digest), minted.pepper_id) == (32, "2")
    assert minted.hint == f"{lead}…{minted.text[-4:]}"
    assert len(minted.hint) <= 16
    assert minted.text not in repr(minted)


def test_mint_key__checksum__is_the_crc_of_what_stands_before_it() -> None:
    text = mint_key(KeyKind.AGENT, test=False).text
    number = 0
    for symbol in text[-6:]:
        number = number * 62 + BASE62.index(symbol)
    assert number == crc32(text[:-6].encode())


@pytest.mark.parametrize(("kind", "test"), KINDS)
def test_verify_key__the_minted_key__holds(kind: KeyKind, test: bool) -> None:
    minted = mint_key(kind, test=test)
    parsed = parse_key(minted.text)
    assert parsed is not None
    assert (parsed.kind, parsed.test, parsed.key_id) == (kind, test, minted.key_id)
    assert verify_key(parsed, minted.digest, minted.pepper_id)
    assert verify_key(parsed, memoryview(minted.digest), minted.pepper_id)
    assert parsed.secret not in repr(parsed)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(min_value=0, max_value=53), symbol=st.characters(min_codepoint=1, max_codepoint=0x7FF))
def test_parse_key__any_one_character_changed__is_caught(place: int, symbol: str) -> None:
    minted = mint_key(KeyKind.AGENT, test=False)
    assert len(minted.text) > place
    changed = minted.text[:place] + symbol + minted.text[place + 1 :]
    if changed != minted.text:
        assert parse_key(changed) is None


@pytest.mark.parametrize("cut", [0, 1, 3, 18, 19, 50, 56])
def test_parse_key__cut_short__is_none(cut: int) -> None:
    text = mint_key(KeyKind.SECRET, test=False).text
    assert parse_key(text[:cut]) is None
    assert parse_key(text + "\n") is None
    assert parse_key(" " + text) is None


def test_verify_key__foreign_secret_with_a_good_checksum__is_refused() -> None:
    mine, other = mint_key(KeyKind.AGENT, test=False), mint_key(KeyKind.AGENT, test=False)
    parsed = parse_key(other.text)
    assert parsed is not None
    assert not verify_key(parsed, mine.digest, mine.pepper_id)


def test_verify_key__no_such_key_stored__is_refused() -> None:
    parsed = parse_key(mint_key(KeyKind.AGENT, test=False).text)
    assert parsed is not None
    assert not verify_key(parsed, None, None)
    assert not verify_key(parsed, None, "2")
    assert not verify_key(parsed, digest_key(parsed)[0], "9")
    assert not verify_key(parsed, b"", "2")


def test_verify_key__older_pepper__holds_until_it_is_taken_away(settings: Settings) -> None:
    minted = mint_key(KeyKind.AGENT, test=False)
    parsed = parse_key(minted.text)
    assert parsed is not None
    settings.PERMETER_KEY_PEPPERS = {"3": "a newer pepper", **settings.PERMETER_KEY_PEPPERS}
    assert verify_key(parsed, minted.digest, minted.pepper_id)
    assert current_pepper_id() == "3"
    digest, pepper_id = digest_key(parsed)
    assert pepper_id == "3"
    assert digest != minted.digest
    assert verify_key(parsed, digest, pepper_id)
    settings.PERMETER_KEY_PEPPERS = {"3": "a newer pepper"}
    assert not verify_key(parsed, minted.digest, minted.pepper_id)
