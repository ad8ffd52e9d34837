"""The regular expressions for secret scanners find every key that is made, whole, and none that was cut."""

from __future__ import annotations

import re

import pytest

from common.crypto import KeyKind, mint_key, mint_license_key, normalize_license_key, parse_key
from tests.docs.pages import page

PAGE = "docs/reference/keys.md"
#: What stands around keys where they leak.
AROUND = ["{}", 'KEY="{}"', "Authorization: Bearer {}\n", "({}), ", "https://x.test/?key={}&a=1", "a {} b", "-{}."]


def expressions() -> list[re.Pattern[str]]:
    found = re.findall(r"^```regex\n(.*)\n```$", page(PAGE), re.MULTILINE)
    assert len(found) == 2
    return [re.compile(each) for each in found]


@pytest.mark.parametrize("kind", KeyKind)
@pytest.mark.parametrize("test", [False, True])
def test_expression_for_keys__keys_of_every_kind__finds_them_whole(kind: KeyKind, test: bool) -> None:
    expression = expressions()[0]
    for _ in range(50):
        text = mint_key(kind, test=test).text
        for around in AROUND:
            [found] = expression.findall(around.format(text))
            assert found == text
        two = f"{mint_key(kind, test=test).text}\n{text}"
        assert expression.findall(two) == two.split("\n")
        assert all(parse_key(each) is not None for each in expression.findall(two))


@pytest.mark.parametrize("kind", KeyKind)
def test_expression_for_keys__cut_or_altered__finds_none(kind: KeyKind) -> None:
    expression = expressions()[0]
    text = mint_key(kind, test=False).text
    for cut in (*(text[:end] for end in range(len(text))), *(text[start:] for start in range(1, len(text)))):
        assert expression.search(cut) is None, cut
    for other in (
        f"{text}a",
        f"{text}_",
        f"x{text}",
        text.upper(),
        text.replace("_", "-"),
        text.replace("pm_", "pm_x_"),
    ):
        assert expression.search(other) is None, other


def test_expression_for_license_keys__as_printed__finds_them_and_none_that_was_cut() -> None:
    expression = expressions()[1]
    for _ in range(50):
        text = mint_license_key().text
        assert expression.findall(f"key: {text}.") == [text]
        assert normalize_license_key(text) is not None
        for cut in (text[:-1], text[1:], f"{text}0", f"0{text}", text.replace("-", "")):
            assert expression.search(cut) is None, cut
