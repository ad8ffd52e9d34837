import re

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from common.crypto import license_key_digests, mint_license_key, normalize_license_key
from common.crypto.license_keys import ALPHABET

with_fixture = hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
# 24 zeros need the check symbol 0; with a single 1 beside the check symbol, doubled to 2, they need 32 - 2 = 30.
ZEROS = "0" * 25
ONE = "0" * 23 + "1Y"


@st.composite
def license_keys(draw: st.DrawFn) -> str:
    symbols = draw(st.text(alphabet=ALPHABET, min_size=24, max_size=24))
    [key] = [symbols + check for check in ALPHABET if normalize_license_key(symbols + check)]
    return key


@pytest.fixture(autouse=True)
def peppers(settings: Settings) -> None:
    settings.PERMETER_KEY_PEPPERS = {"2": "the current pepper", "1": "an older pepper"}


def test_mint_license_key__text__is_five_groups_of_five() -> None:
    minted = mint_license_key()
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{5}(-[0-9A-HJKMNP-TV-Z]{5}){4}", minted.text)
    assert minted.last4 == minted.text[-4:]
    normalized = minted.text.replace("-", "")
    assert normalize_license_key(minted.text) == normalized
    assert license_key_digests(normalized)[0] == (minted.pepper_id, minted.digest) == ("2", minted.digest)


def test_license_key_digests__two_peppers__come_current_first_and_differ() -> None:
    (current, one), (older, other) = license_key_digests(ZEROS)
    assert (current, older) == ("2", "1")
    assert one != other
    assert len(one) == len(other) == 32


@pytest.mark.parametrize("known", [ZEROS, ONE])
def test_normalize_license_key__check_symbol_by_hand__holds(known: str) -> None:
    assert normalize_license_key(known) == known


@with_fixture
@given(license_keys(), st.data())
def test_normalize_license_key__case_and_look_alikes__are_forgiven(key: str, data: st.DataObject) -> None:
    groups = "-".join(re.findall(".{5}", key))
    look_alikes = {"0": "0Oo", "1": "1IiLl"}
    typed = "".join(data.draw(st.sampled_from(look_alikes.get(s, s + s.lower()))) for s in groups)
    typed = typed.replace("-", data.draw(st.sampled_from(["", "-", " ", " - ", "–", "\u00a0", "\n"])))
    assert normalize_license_key(f" {typed} ") == key


@with_fixture
@given(symbols=license_keys(), place=st.integers(0, 24), shift=st.integers(1, 31))
def test_normalize_license_key__one_wrong_symbol__is_caught(symbols: str, place: int, shift: int) -> None:
    wrong = ALPHABET[(ALPHABET.index(symbols[place]) + shift) % 32]
    assert normalize_license_key(symbols[:place] + wrong + symbols[place + 1 :]) is None


@with_fixture
@given(symbols=license_keys(), place=st.integers(0, 23))
def test_normalize_license_key__neighbours_swapped__is_caught_but_for_0_and_z(symbols: str, place: int) -> None:
    one, other = symbols[place], symbols[place + 1]
    swapped = symbols[:place] + other + one + symbols[place + 2 :]
    caught = normalize_license_key(swapped) is None
    assert caught == (one != other and {one, other} != {"0", "Z"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0" * 24,
        "0" * 26,
        "U" + "0" * 24,
        "0" * 24 + "_",
        "0" * 24 + "ı",
        "0" * 24 + "\u0660",
        ZEROS + " " * 200,
    ],
)
def test_normalize_license_key__no_license_key__is_none(text: str) -> None:
    assert normalize_license_key(text) is None
