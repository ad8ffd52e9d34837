from decimal import Decimal
from typing import Any

import pytest

from metering.domain.dimensions import DimensionError, canonical_filter, check_declared, check_dimensions, matches

DECLARED = ("model", "region")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("large", "large"),
        ("", ""),
        ("5.0", "5.0"),
        (5, "5"),
        (5.0, "5"),
        (Decimal("5.00"), "5"),
        (5e3, "5000"),
        (Decimal("5E+3"), "5000"),
        (0.1, "0.1"),
        (-0.0, "0"),
        (-7, "-7"),
        (1e-7, "0.0000001"),
        (True, "true"),
        (False, "false"),
        ("größe 😀", "größe 😀"),
        ("x" * 200, "x" * 200),
    ],
)
def test_check_dimensions__value_of_any_kind__is_text_by_meaning(value: Any, text: str) -> None:
    assert check_dimensions(DECLARED, {"model": value}) == {"model": text}


@pytest.mark.parametrize(
    ("given", "dimension", "code"),
    [
        ({"model": "large", "colour": "red"}, "colour", "dimension_unknown"),
        ({"Model": "large"}, "Model", "dimension_unknown"),
        ({"model": "x" * 201}, "model", "dimension_too_long"),
        ({"model": 10**300}, "model", "dimension_too_long"),
        ({"model": Decimal("1E+999999")}, "model", "dimension_too_long"),
        ({"model": Decimal("1E-999999")}, "model", "dimension_too_long"),
        ({"model": float("nan")}, "model", "dimension_invalid"),
        ({"model": float("inf")}, "model", "dimension_invalid"),
        ({"model": None}, "model", "dimension_invalid"),
        ({"model": ["large"]}, "model", "dimension_invalid"),
        ({"model": "a\x00b"}, "model", "dimension_invalid"),
        ({"model": "a\nb"}, "model", "dimension_invalid"),
        ({"model": "a\ud800b"}, "model", "dimension_invalid"),
        ({f"d{number}": "x" for number in range(21)}, "", "dimensions_too_many"),
    ],
)
def test_check_dimensions__that_cannot_be_taken__are_refused(given: dict[str, Any], dimension: str, code: str) -> None:
    with pytest.raises(DimensionError) as caught:
        check_dimensions(DECLARED, given)
    assert (caught.value.dimension, caught.value.code) == (dimension, code)


def test_check_dimensions__any_order__is_sorted_by_name() -> None:
    given = check_dimensions(DECLARED, {"region": "eu", "model": "large"})
    assert list(given.items()) == [("model", "large"), ("region", "eu")]


def test_check_dimensions__none_given__are_none() -> None:
    assert check_dimensions(DECLARED, {}) == {}


def test_check_declared__good_names__keep_their_order() -> None:
    assert check_declared(["model", "region.zone", "tool-name"]) == ("model", "region.zone", "tool-name")


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["model", "model"], "dimension_repeated"),
        ([""], "dimension_name_invalid"),
        (["1st"], "dimension_name_invalid"),
        (["a b"], "dimension_name_invalid"),
        (["model\n"], "dimension_name_invalid"),
        (["x" * 65], "dimension_name_invalid"),
        ([f"d{number}" for number in range(21)], "dimensions_too_many"),
    ],
)
def test_check_declared__bad_names__are_refused(names: list[str], code: str) -> None:
    with pytest.raises(DimensionError) as caught:
        check_declared(names)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("wanted", "result"),
    [
        ({}, True),
        ({"model": "large"}, True),
        ({"model": "large", "region": "eu"}, True),
        ({"model": "small"}, False),
        ({"model": "large", "tool": "web"}, False),
    ],
)
def test_matches__filter__needs_every_value_it_names(wanted: dict[str, str], result: bool) -> None:
    assert matches(wanted, {"model": "large", "region": "eu"}) is result


def test_canonical_filter__any_order_of_names__is_one_text() -> None:
    assert canonical_filter({"region": "eu", "model": "groß"}) == '{"model":"groß","region":"eu"}'
    assert canonical_filter({"model": "groß", "region": "eu"}) == '{"model":"groß","region":"eu"}'
    assert canonical_filter({}) == "{}"
