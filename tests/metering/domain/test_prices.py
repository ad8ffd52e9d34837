from decimal import Decimal
from typing import Any

import pytest

from metering.domain.prices import PriceError, PriceTerms

UNIT = {"model": "per_unit", "currency": "USD", "unit_price": "1"}
PACKAGE = {"model": "package", "currency": "USD", "package_size": "10", "package_price": "1"}


def graduated(*tiers: Any) -> dict[str, Any]:
    return {"model": "graduated", "currency": "USD", "tiers": list(tiers)}


def tier(up_to: str | None, unit_price: str | None = "1", **more: Any) -> dict[str, Any]:
    return {"up_to": up_to, "unit_price": unit_price, **more}


REFUSED = [
    ({}, "model", "model_unknown"),
    ({**UNIT, "model": "per-unit"}, "model", "model_unknown"),
    ({**UNIT, "model": ["per_unit"]}, "model", "model_unknown"),
    ({**UNIT, "currency": None}, "currency", "required"),
    ({**UNIT, "currency": "DOLLARS"}, "currency", "currency_invalid"),
    ({**UNIT, "currency": "U$D"}, "currency", "currency_invalid"),
    ({**UNIT, "unit_price": None}, "unit_price", "required"),
    ({**UNIT, "unit_price": "-0.01"}, "unit_price", "negative"),
    ({**UNIT, "unit_price": "a"}, "unit_price", "number_invalid"),
    ({**UNIT, "unit_price": "NaN"}, "unit_price", "number_invalid"),
    ({**UNIT, "unit_price": " 1"}, "unit_price", "number_invalid"),
    ({**UNIT, "unit_price": "1_000"}, "unit_price", "number_invalid"),
    ({**UNIT, "unit_price": "٣"}, "unit_price", "number_invalid"),
    ({**UNIT, "unit_price": True}, "unit_price", "number_invalid"),
    ({**UNIT, "unit_price": ["1"]}, "unit_price", "number_invalid"),
    ({**UNIT, "unit_price": float("inf")}, "unit_price", "number_invalid"),
    ({**UNIT, "unit_price": "1000000000000000001"}, "unit_price", "out_of_range"),
    ({**UNIT, "unit_price": "1e999"}, "unit_price", "out_of_range"),
    ({**UNIT, "unit_price": "0.0000000000001"}, "unit_price", "too_precise"),
    ({**UNIT, "unit_price": Decimal("1000000000000000.0000000000001")}, "unit_price", "too_precise"),
    ({**UNIT, "package_size": "10"}, "package_size", "not_allowed"),
    ({**UNIT, "tiers": [tier(None)]}, "tiers", "not_allowed"),
    ({**UNIT, "included_units": "-1"}, "included_units", "negative"),
    ({**UNIT, "minimum": "-1"}, "minimum", "negative"),
    ({**UNIT, "minimum": "2", "maximum": "1.99"}, "maximum", "below_minimum"),
    ({**PACKAGE, "package_size": None}, "package_size", "required"),
    ({**PACKAGE, "package_size": "0"}, "package_size", "not_positive"),
    ({**PACKAGE, "package_size": "-1"}, "package_size", "negative"),
    ({**PACKAGE, "package_price": None}, "package_price", "required"),
    ({**PACKAGE, "unit_price": "1"}, "unit_price", "not_allowed"),
    (graduated(), "tiers", "required"),
    ({**graduated(), "tiers": "all"}, "tiers", "tiers_invalid"),
    (graduated("all"), "tiers.0", "tiers_invalid"),
    (graduated(tier("10"), tier("20")), "tiers.1.up_to", "last_tier_not_open"),
    (graduated(tier(None), tier(None)), "tiers.0.up_to", "open_tier_not_last"),
    (graduated(tier("10"), tier("10"), tier(None)), "tiers.1.up_to", "tiers_not_increasing"),
    (graduated(tier("10"), tier("9"), tier(None)), "tiers.1.up_to", "tiers_not_increasing"),
    (graduated(tier("0"), tier(None)), "tiers.0.up_to", "tiers_not_increasing"),
    (graduated(tier("10", "-1"), tier(None)), "tiers.0.unit_price", "negative"),
    (graduated(tier("10"), tier(None, flat_fee="-1")), "tiers.1.flat_fee", "negative"),
    (graduated(tier(None, None)), "tiers.0.unit_price", "required"),
    (graduated(tier(None, flat="1")), "tiers.0.flat", "not_allowed"),
    (graduated(*(tier(str(number)) for number in range(1, 101)), tier(None)), "tiers", "tiers_too_many"),
]


@pytest.mark.parametrize(("data", "field", "code"), REFUSED)
def test_price_terms__that_make_no_sense__are_refused_with_the_field(
    data: dict[str, Any], field: str, code: str
) -> None:
    with pytest.raises(PriceError) as caught:
        PriceTerms.from_mapping(data)
    assert (caught.value.field, caught.value.code) == (field, code)


@pytest.mark.parametrize("number", ["0.01", 0.01, Decimal("0.010"), "1e-2", "0.0100000000000000"])
def test_price_terms__number_in_any_notation__is_the_same(number: Any) -> None:
    assert PriceTerms.from_mapping({**UNIT, "unit_price": number}).unit_price == Decimal("0.01")


def test_price_terms__fields_of_the_price_that_are_no_terms__are_left_alone() -> None:
    data: dict[str, Any] = {**UNIT, "meter": "tokens", "filter": {"model": "large"}, "starts_at": None, "tiers": []}
    assert PriceTerms.from_mapping(data) == PriceTerms.from_mapping(UNIT)


def test_price_terms__small_letters__name_the_same_currency() -> None:
    assert PriceTerms.from_mapping({**UNIT, "currency": "usd"}).currency == "USD"


def test_price_terms__flat_fee_alone__is_a_tier() -> None:
    terms = PriceTerms.from_mapping(graduated(tier(None, None, flat_fee="9")))
    assert (terms.tiers[0].unit_price, terms.tiers[0].flat_fee) == (Decimal(0), Decimal(9))
