from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.canonical import canonical_json, digest16


def test_canonical_json__nested_value__is_sorted_and_tight() -> None:
    value = {"b": [1, {"d": None, "c": True}], "a": "ü"}
    assert canonical_json(value) == '{"a":"ü","b":[1,{"c":true,"d":null}]}'.encode()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Decimal(5), Decimal("5.000")),
        (Decimal("1E+2"), Decimal(100)),
        (
            datetime(2026, 11, 23, 12, tzinfo=UTC),
            datetime(2026, 11, 23, 14, tzinfo=timezone(timedelta(hours=2))),
        ),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ],
)
def test_canonical_json__equal_meaning__gives_equal_bytes(one: object, other: object) -> None:
    assert canonical_json(one) == canonical_json(other)


def test_canonical_json__rich_values__have_their_public_form() -> None:
    at = datetime(2026, 11, 23, 9, 0, 0, 5, tzinfo=UTC)
    assert canonical_json([Decimal("1.50"), at, UUID(int=1)]) == (
        b'["1.5","2026-11-23T09:00:00.000005Z","00000000-0000-0000-0000-000000000001"]'
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), datetime(2026, 1, 1), "\ud800"])  # noqa: DTZ001
def test_canonical_json__without_canonical_form__is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical_json(value)


def test_canonical_json__foreign_type__is_a_type_error() -> None:
    with pytest.raises(TypeError, match="set has no canonical form"):
        canonical_json({1, 2})


@given(st.dictionaries(st.text(alphabet="abcdef"), st.integers() | st.booleans() | st.none()))
def test_canonical_json__any_order_of_insertion__gives_the_same_bytes(value: dict[str, object]) -> None:
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


def test_digest16__known_value__stays_what_it_is() -> None:
    assert digest16(b"lic", b"step-42") == UUID("ff144d06-765f-66dd-e210-b047e4b38165")
    assert digest16() == UUID("cae66941-d9ef-bd40-4e4d-88758ea67670")


@given(st.lists(st.binary(max_size=5), max_size=4), st.lists(st.binary(max_size=5), max_size=4))
def test_digest16__different_parts__differ(one: list[bytes], other: list[bytes]) -> None:
    assert (digest16(*one) == digest16(*other)) == (one == other)
