from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.quantities import MAX_QUANTITY, QuantityError, format_quantity, parse_quantity

quantities = st.decimals(min_value=-MAX_QUANTITY, max_value=MAX_QUANTITY, places=12)


@given(quantities)
def test_quantities__any_value__round_trips(value: Decimal) -> None:
    assert parse_quantity(format_quantity(value)) == value
    assert format_quantity(parse_quantity(format_quantity(value))) == format_quantity(value)


@given(quantities)
def test_format_quantity__any_value__is_plain_and_short(value: Decimal) -> None:
    text = format_quantity(value)
    assert "E" not in text
    assert not ("." in text and text.endswith(("0", ".")))
    assert text not in {"-0", ""}


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_parse_quantity__integer__is_exact(value: int) -> None:
    assert parse_quantity(value) == value
    assert parse_quantity(str(value)) == value


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("5", "5"),
        (5, "5"),
        (5.0, "5"),
        ("5.0", "5"),
        ("5e0", "5"),
        ("0.5E1", "5"),
        ("+5", "5"),
        ("005", "5"),
        (Decimal("5.000000000000000000"), "5"),
        (0.1, "0.1"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-0", "0"),
        (-0.0, "0"),
        ("0e999999999", "0"),
        ("-3.25", "-3.25"),
        ("0.000000000001", "0.000000000001"),
        ("1000000000000000000", "1000000000000000000"),
        ("1e18", "1000000000000000000"),
        (1e18, "1000000000000000000"),
        ("999999999999999999.999999999999", "999999999999999999.999999999999"),
    ],
)
def test_parse_quantity__every_notation__means_the_number(given: str | float | Decimal, expected: str) -> None:
    parsed = parse_quantity(given)
    assert format_quantity(parsed) == expected
    assert str(parsed) == expected or parsed.as_tuple().exponent == -12  # no exponent in the Decimal itself


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("", "quantity_invalid"),
        ("five", "quantity_invalid"),
        ("1,5", "quantity_invalid"),
        ("1_000", "quantity_invalid"),
        (" 5", "quantity_invalid"),
        ("5\n", "quantity_invalid"),
        ("٥", "quantity_invalid"),
        ("0x10", "quantity_invalid"),
        (".", "quantity_invalid"),
        ("1e9999999999", "quantity_invalid"),
        ("NaN", "quantity_invalid"),
        ("Infinity", "quantity_invalid"),
        (float("nan"), "quantity_invalid"),
        (float("inf"), "quantity_invalid"),
        (Decimal("sNaN"), "quantity_invalid"),
        (Decimal("-Infinity"), "quantity_invalid"),
        (True, "quantity_invalid"),
        (None, "quantity_invalid"),
        ([], "quantity_invalid"),
        ("9" * 65, "quantity_invalid"),
        ("1000000000000000000.000000000001", "quantity_out_of_range"),
        ("-1000000000000000001", "quantity_out_of_range"),
        (10**18 + 1, "quantity_out_of_range"),
        (10**4000, "quantity_out_of_range"),
        ("1e999999999", "quantity_out_of_range"),
        (1e300, "quantity_out_of_range"),
        (Decimal("1e999999"), "quantity_out_of_range"),
        ("0.0000000000001", "quantity_too_precise"),
        ("1e-13", "quantity_too_precise"),
        ("1e-999999999", "quantity_too_precise"),
        (Decimal("1." + "1" * 13), "quantity_too_precise"),
        (5e-324, "quantity_too_precise"),
    ],
)
def test_parse_quantity__not_a_quantity__has_a_code(given: object, code: str) -> None:
    with pytest.raises(QuantityError) as refusal:
        parse_quantity(given)  # type: ignore[arg-type]
    assert refusal.value.code == code
    assert refusal.value.detail.endswith(".")
