"""Rating against the worked cases of other systems.

They use our rules wherever both say something. None contradicts them, but two things of theirs are not ours: prorated
sums rounded up to five decimals, and packages that round down; neither is in the tests here.
"""

from decimal import Decimal
from typing import Any

import pytest

from metering.domain.money import round_money
from metering.domain.rating import PriceTerms, billable_units, rate
from tests.vectors import Vector, metering_vectors

MODELS = metering_vectors("graduated", "volume", "package", "per_unit")


def ids(vectors: list[Vector]) -> list[str]:
    return [vector["id"] for vector in vectors]


def terms_of(given: dict[str, Any], currency: str = "USD") -> PriceTerms:
    data = {key: value for key, value in given.items() if key not in ("quantity", "round", "tiers")}
    if "tiers" in given:
        data["tiers"] = [
            {"up_to": tier["up_to"], "unit_price": tier["unit"], "flat_fee": tier["flat"]} for tier in given["tiers"]
        ]
    return PriceTerms.from_mapping({"currency": currency, **data})


def test_vectors__packages__all_round_up_as_ours_do() -> None:
    assert {vector["input"].get("round", "up") for vector in metering_vectors("package")} == {"up"}


@pytest.mark.parametrize("vector", MODELS, ids=ids(MODELS))
def test_rate__worked_case__has_this_exact_amount(vector: Vector) -> None:
    rated = rate(Decimal(vector["input"]["quantity"]), terms_of(vector["input"]))
    expected = vector["expected"]
    assert rated.exact == Decimal(expected.get("amount_due", expected["amount"]))
    true_up = [line.amount for line in rated.lines if line.description == "Up to the minimum"]
    assert sum(true_up) == Decimal(expected.get("true_up", 0))


@pytest.mark.parametrize("vector", metering_vectors("included_units"), ids=ids(metering_vectors("included_units")))
def test_included_units__worked_case__are_used_by_the_earlier_units_first(vector: Vector) -> None:
    before, quantity, included = (
        Decimal(vector["input"][key]) for key in ("pre_quantity", "quantity", "included_units")
    )
    expected = vector["expected"]
    assert billable_units(before, included) == Decimal(expected["billable_pre_quantity"])
    price = terms_of({"model": "per_unit", "unit_price": "1", "included_units": str(included)})
    [line] = rate(quantity, price, already=before).lines
    assert line.quantity == Decimal(expected["billable_quantity"])


@pytest.mark.parametrize("vector", metering_vectors("rounding"), ids=ids(metering_vectors("rounding")))
def test_round_money__worked_case__is_half_away_from_zero(vector: Vector) -> None:
    given = vector["input"]
    assert str(round_money(Decimal(given["amount"]), given["currency"])) == vector["expected"]["rounded"]


@pytest.mark.parametrize("vector", metering_vectors("rounding_product"), ids=ids(metering_vectors("rounding_product")))
def test_rate__worked_product__is_rounded_once(vector: Vector) -> None:
    given = vector["input"]
    price = terms_of({"model": "per_unit", "unit_price": given["unit_price"]}, given["currency"])
    assert str(rate(Decimal(given["quantity"]), price).amount) == vector["expected"]["rounded"]


@pytest.mark.parametrize("vector", metering_vectors("overage"), ids=ids(metering_vectors("overage")))
def test_overage__successive_windows__never_net_against_each_other(vector: Vector) -> None:
    given = vector["input"]
    price = terms_of({"model": "per_unit", "unit_price": given["unit_price"]})
    over = [billable_units(Decimal(each["usage"]), Decimal(each["quota"])) for each in given["windows"]]
    assert sum(over) == Decimal(vector["expected"]["overage"])
    assert sum(rate(quantity, price).exact for quantity in over) == Decimal(vector["expected"]["amount"])
