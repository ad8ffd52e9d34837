import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.text import TextError, check_text


@pytest.mark.parametrize("text", ["", "Acme", "Grüße, 世界 🙂", "a b", "x" * 20, "non-breaking\u00a0space"])
def test_check_text__ordinary_text__passes_unchanged(text: str) -> None:
    assert check_text(text, max_length=20) == text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x" * 21, "too_long"),
        ("a\x00b", "invalid"),
        ("\ud800", "invalid"),
        ("a\udfff", "invalid"),
        ("a\x1bb", "invalid"),
        ("a\x7f", "invalid"),
        ("a\x85", "invalid"),
        ("a\nb", "invalid"),
    ],
)
def test_check_text__what_cannot_be_kept__is_refused(text: str, code: str) -> None:
    with pytest.raises(TextError) as refusal:
        check_text(text, max_length=20)
    assert refusal.value.code == code


def test_check_text__multiline__lets_breaks_and_tabs_through_only() -> None:
    assert check_text("a\r\n\tb", max_length=20, multiline=True) == "a\r\n\tb"
    with pytest.raises(TextError):
        check_text("a\x00", max_length=20, multiline=True)


@given(st.text(alphabet=st.characters(codec=None), max_size=20))
def test_check_text__any_text__passes_if_and_only_if_no_character_is_bad(text: str) -> None:
    bad = any(unicodedata.category(character) in {"Cc", "Cs"} for character in text)
    try:
        check_text(text, max_length=20)
    except TextError:
        assert bad
    else:
        assert not bad
