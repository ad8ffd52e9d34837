"""Every code of the licence side is led to by the calls that its section shows, pasted beside a running stack."""

from __future__ import annotations

import pytest

from licenses.domain.enums import ReasonCode
from licensing_site.environment import BASE_DIR
from tests.docs.refusals import (
    OF_FIELDS,
    PAGE,
    Section,
    codes_of,
    excused_codes,
    holds_in,
    listed_codes,
    sections,
)
from tests.docs.test_readme import Tour, demo_stack, paste
from tests.stack_fixtures import LiveStack

__all__ = ["demo_stack"]

#: An ended agent is put away after a minute; the rest takes half of one.
_PATIENCE = 300


@pytest.fixture(scope="module")
def shown(demo_stack: LiveStack, tmp_path_factory: pytest.TempPathFactory) -> Tour:
    """The whole page, pasted once."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "var").symlink_to(demo_stack.var_dir)
    for name in (".venv", "manage.py"):
        (folder / name).symlink_to(BASE_DIR / name)
    return paste("sh", folder=folder, name=PAGE, patience=_PATIENCE)


def test_list_of_codes__walked__each_has_a_section_or_a_reason_why_not() -> None:
    provoked = {section.code for section in sections()}
    wanted = listed_codes() | {code.value for code in ReasonCode} | {"allowed"} | OF_FIELDS

    assert wanted - provoked - excused_codes() == set(), f"add a section to {PAGE}"
    assert (provoked | excused_codes()) - wanted == set(), "not in the list of codes"
    assert provoked & excused_codes() == set()


def test_what_cannot_be_provoked__is_never_a_reason_of_a_decision() -> None:
    assert excused_codes() & {code.value for code in ReasonCode} == set()


@pytest.mark.stack
@pytest.mark.parametrize("section", [pytest.param(each, id=each.title) for each in sections()])
def test_section__its_calls__lead_to_its_code(shown: Tour, section: Section) -> None:
    answer = shown.answer(section.block, section.last_line)

    assert section.code in codes_of(section.answer), "the page shows another answer"
    assert section.code in codes_of(answer)
    assert holds_in(section.answer, answer), answer


@pytest.mark.parametrize(
    ("promised", "answer", "holds"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1}, {"a": True}, False),
        ([], [{"a": 1}], False),
        ([], [], True),
        ([{"a": 1}], [{"b": 1}, {"a": 1}], True),
        ([{"a": 1}, {"a": 2}], [{"a": 1}], False),
        ("no-…", "no-17", True),
        ("no-…", "yes-17", False),
        ({"a": None}, {"a": None}, True),
        ({"a": None}, {}, False),
    ],
)
def test_holds_in__promised_and_answered__compares_what_is_promised(
    promised: object, answer: object, holds: bool
) -> None:
    assert holds_in(promised, answer) is holds
