from decimal import Decimal

import pytest

from metering.domain.money import CurrencyError, minor_units, normalize_currency, round_money


@pytest.mark.parametrize(
    ("currency", "units"),
    [
        ("USD", 2),
        ("EUR", 2),
        ("MGA", 2),
        ("JPY", 0),
        ("KRW", 0),
        ("ISK", 0),
        ("BHD", 3),
        ("KWD", 3),
        ("CLF", 4),
        ("jpy", 0),
    ],
)
def test_minor_units__currency__are_those_of_iso_4217(currency: str, units: int) -> None:
    assert minor_units(currency) == units


@pytest.mark.parametrize(
    ("amount", "rounded"),
    [
        ("0.005", "0.01"),
        ("-0.005", "-0.01"),
        ("0.015", "0.02"),
        ("0.025", "0.03"),
        ("0.00499999999999999999", "0.00"),
        ("-0.004", "0.00"),
        ("-0", "0.00"),
        ("1E+3", "1000.00"),
        ("123456789012345678901234567890123456.005", "123456789012345678901234567890123456.01"),
    ],
)
def test_round_money__dollars__is_half_away_from_zero_at_the_cent(amount: str, rounded: str) -> None:
    assert str(round_money(Decimal(amount), "USD")) == rounded


@pytest.mark.parametrize("text", ["", "US", "USDT", "US1", "ÜSD", "US D"])
def test_normalize_currency__not_three_letters__is_refused(text: str) -> None:
    with pytest.raises(CurrencyError):
        normalize_currency(text)
