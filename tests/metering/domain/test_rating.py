from decimal import Decimal
from typing import Any

import pytest

from metering.domain.enums import PriceModel
from metering.domain.rating import Line, PriceTerms, Tier, billable_units, difference, rate

D = Decimal


def price(model: str, currency: str = "USD", **terms: Any) -> PriceTerms:
    return PriceTerms.from_mapping({"model": model, "currency": currency, **terms})


TIERS = [
    {"up_to": "10", "unit_price": "1", "flat_fee": "5"},
    {"up_to": "20", "unit_price": "0.5", "flat_fee": "3"},
    {"up_to": None, "unit_price": "0.25"},
]

EXACT_AMOUNTS = [
    ("per_unit", {"unit_price": "0.000002"}, "500", "0.001"),
    ("per_unit", {"unit_price": "2", "included_units": "100"}, "100", "0"),
    ("per_unit", {"unit_price": "2", "included_units": "100"}, "100.5", "1"),
    ("package", {"package_size": "1000", "package_price": "3"}, "0", "0"),
    ("package", {"package_size": "1000", "package_price": "3"}, "1", "3"),
    ("package", {"package_size": "1000", "package_price": "3"}, "1000", "3"),
    ("package", {"package_size": "1000", "package_price": "3"}, "1000.000000000001", "6"),
    # Included units go off before packages are counted.
    ("package", {"package_size": "1000", "package_price": "3", "included_units": "500"}, "1500", "3"),
    ("package", {"package_size": "1000", "package_price": "3", "included_units": "500"}, "1501", "6"),
    # up_to is inclusive; the flat fee falls due when the tier is entered.
    ("graduated", {"tiers": TIERS}, "0", "0"),
    ("graduated", {"tiers": TIERS}, "0.001", "5.001"),
    ("graduated", {"tiers": TIERS}, "10", "15"),
    ("graduated", {"tiers": TIERS}, "10.001", "18.0005"),
    ("graduated", {"tiers": TIERS}, "20", "23"),
    ("graduated", {"tiers": TIERS}, "24", "24"),
    ("graduated", {"tiers": TIERS, "included_units": "10"}, "20", "15"),
    ("volume", {"tiers": TIERS}, "0", "0"),
    ("volume", {"tiers": TIERS}, "10", "15"),
    ("volume", {"tiers": TIERS}, "10.001", "8.0005"),
    ("volume", {"tiers": TIERS}, "20", "13"),
    ("volume", {"tiers": TIERS}, "24", "6"),
    # Minimum and maximum bound the whole period, but nothing over costs nothing.
    ("per_unit", {"unit_price": "1", "minimum": "10"}, "0", "0"),
    ("per_unit", {"unit_price": "1", "minimum": "10"}, "3", "10"),
    ("per_unit", {"unit_price": "1", "minimum": "10"}, "10", "10"),
    ("per_unit", {"unit_price": "1", "minimum": "10", "included_units": "5"}, "5", "0"),
    ("per_unit", {"unit_price": "1", "maximum": "10"}, "10", "10"),
    ("per_unit", {"unit_price": "1", "maximum": "10"}, "11", "10"),
    ("per_unit", {"unit_price": "0", "maximum": "0"}, "11", "0"),
]


@pytest.mark.parametrize(("model", "terms", "quantity", "exact"), EXACT_AMOUNTS)
def test_rate__worked_case__has_this_exact_amount(model: str, terms: dict[str, Any], quantity: str, exact: str) -> None:
    rated = rate(D(quantity), price(model, **terms))
    assert rated.exact == D(exact)
    assert sum(line.amount for line in rated.lines) == rated.exact


def test_rate__many_tiny_units__rounds_the_sum_once() -> None:
    rated = rate(D("2500"), price("per_unit", unit_price="0.000002"))
    assert rated.lines == (Line("Units", D("2500"), D("0.000002"), D("0.005")),)
    assert (rated.exact, str(rated.amount)) == (D("0.005"), "0.01")


def test_rate__less_than_half_a_cent__is_charged_0_00() -> None:
    assert str(rate(D("500"), price("per_unit", unit_price="0.000002")).amount) == "0.00"


@pytest.mark.parametrize(
    ("currency", "amount"), [("USD", "1.23"), ("JPY", "1"), ("BHD", "1.235"), ("CLF", "1.2345"), ("eur", "1.23")]
)
def test_rate__currency__rounds_to_its_minor_unit(currency: str, amount: str) -> None:
    assert str(rate(D("1"), price("per_unit", currency, unit_price="1.2345")).amount) == amount


def test_rate__graduated__shows_tiers_and_flat_fees() -> None:
    assert rate(D("24"), price("graduated", tiers=TIERS)).lines == (
        Line("Units over 0, up to 10", D(10), D("1"), D("10")),
        Line("Flat fee over 0, up to 10", D(1), D("5"), D("5")),
        Line("Units over 10, up to 20", D(10), D("0.5"), D("5")),
        Line("Flat fee over 10, up to 20", D(1), D("3"), D("3")),
        Line("Units over 20", D(4), D("0.25"), D("1")),
    )


def test_rate__volume__shows_the_one_tier() -> None:
    assert rate(D("15"), price("volume", tiers=TIERS)).lines == (
        Line("Units over 10, up to 20", D(15), D("0.5"), D("7.5")),
        Line("Flat fee over 10, up to 20", D(1), D("3"), D("3")),
    )


def test_rate__package__counts_packages() -> None:
    rated = rate(D("2001"), price("package", package_size="1E+3", package_price="3"))
    assert rated.lines == (Line("Packages of 1000", D(3), D("3"), D("9")),)


def test_rate__minimum_and_maximum__are_lines_of_their_own() -> None:
    terms = price("per_unit", unit_price="1", minimum="10", maximum="20")
    assert rate(D("3"), terms).lines[1:] == (Line("Up to the minimum", D(1), D(7), D(7)),)
    assert rate(D("10"), terms).lines[1:] == ()
    assert rate(D("25"), terms).lines[1:] == (Line("Down to the maximum", D(1), D(-5), D(-5)),)


def test_rate__nothing_over__has_no_lines() -> None:
    terms = price("graduated", tiers=TIERS, minimum="10")
    assert rate(D("0"), terms).lines == ()
    assert str(rate(D("0"), terms).amount) == "0.00"


def test_rate__largest_numbers__loses_no_digit() -> None:
    most = D("999999999999999999.999999999999")
    rated = rate(most, price("per_unit", unit_price=str(most)))
    assert str(rated.exact) == "999999999999999999999999999998000000.000000000000000000000001"
    assert str(rated.amount) == "999999999999999999999999999998000000.00"


def test_rate__further_units__go_on_where_the_earlier_left_off() -> None:
    terms = price("graduated", tiers=TIERS)
    assert rate(D("4"), terms, already=D("8")).lines == (
        Line("Units over 0, up to 10", D(2), D("1"), D("2")),
        Line("Units over 10, up to 20", D(2), D("0.5"), D("1")),
        Line("Flat fee over 10, up to 20", D(1), D("3"), D("3")),
    )
    assert rate(D("4"), terms, already=D("8")).amount == D("6.00")


def test_rate__further_units_of_a_volume_price__take_the_earlier_tier_back() -> None:
    rated = rate(D("1"), price("volume", tiers=TIERS), already=D("10"))
    assert rated.lines == (
        Line("Units over 10, up to 20", D(11), D("0.5"), D("5.5")),
        Line("Flat fee over 10, up to 20", D(1), D("3"), D("3")),
        Line("Units over 0, up to 10", D(-10), D("1"), D("-10")),
        Line("Flat fee over 0, up to 10", D(-1), D("5"), D("-5")),
    )
    assert rated.exact == D("-6.5")


def test_rate__further_units_in_a_package_that_is_paid__are_free() -> None:
    rated = rate(D("5"), price("package", package_size="10", package_price="3"), already=D("1"))
    assert (rated.lines, rated.exact) == ((), D(0))


def test_difference__units_that_were_voided__is_a_credit_that_corrects_the_bill_to_the_cent() -> None:
    terms = price("per_unit", unit_price="0.005")
    bill, right = rate(D("3"), terms), rate(D("2"), terms)
    credit = difference(right, bill)
    assert credit.lines == (Line("Units", D(-1), D("0.005"), D("-0.005")),)
    assert (bill.amount, credit.amount, right.amount) == (D("0.02"), D("-0.01"), D("0.01"))


@pytest.mark.parametrize("quantity", ["-1", "NaN", "Infinity"])
def test_rate__impossible_quantity__is_refused(quantity: str) -> None:
    with pytest.raises(ValueError, match="finite quantity of 0 or more"):
        rate(D(quantity), price("per_unit", unit_price="1"))


def test_billable_units__fewer_than_included__are_none() -> None:
    assert billable_units(D("3"), D("10")) == 0


def test_price_terms__made_without_a_mapping__rate_the_same() -> None:
    tiers = (Tier(D(10), D(1), D(5)), Tier(D(20), D("0.5"), D(3)), Tier(None, D("0.25")))
    assert PriceTerms(model=PriceModel.GRADUATED, currency="USD", tiers=tiers) == price("graduated", tiers=TIERS)
