from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations

import pytest

from metering.domain.aggregation import (
    AggregationUnsupported,
    Observation,
    aggregate,
    contribution,
    require_adding_up,
)
from metering.domain.enums import Aggregation
from tests.vectors import metering_vectors

D = Decimal
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
EVENTS = [
    Observation(NOON, D("3"), "ada", "1"),
    Observation(NOON + timedelta(hours=1), D("7.5"), "bob", "2"),
    Observation(NOON + timedelta(hours=2), D("2"), "ada", "3"),
    Observation(NOON + timedelta(hours=2), D("4"), "cyd", "4"),
]


@pytest.mark.parametrize(("aggregation", "adds"), [(Aggregation.SUM, D("2.5")), (Aggregation.COUNT, D(1))])
def test_contribution__meter_that_adds_up__is_the_quantity_or_one(aggregation: Aggregation, adds: Decimal) -> None:
    assert contribution(aggregation, D("2.5")) == adds
    assert contribution(aggregation) == 1


@pytest.mark.parametrize("aggregation", [Aggregation.MAX, Aggregation.UNIQUE, Aggregation.LATEST])
def test_contribution__meter_that_does_not_add_up__is_refused(aggregation: Aggregation) -> None:
    with pytest.raises(AggregationUnsupported) as caught:
        contribution(aggregation, D(1))
    assert (caught.value.code, caught.value.aggregation) == ("aggregation_unsupported", aggregation)
    with pytest.raises(AggregationUnsupported):
        require_adding_up(aggregation)


@pytest.mark.parametrize(
    ("aggregation", "value"),
    [
        (Aggregation.SUM, "16.5"),
        (Aggregation.COUNT, "4"),
        (Aggregation.MAX, "7.5"),
        (Aggregation.UNIQUE, "3"),
        (Aggregation.LATEST, "4"),
    ],
)
def test_aggregate__events_in_any_order__is_the_same(aggregation: Aggregation, value: str) -> None:
    assert {aggregate(aggregation, order) for order in permutations(EVENTS)} == {D(value)}


@pytest.mark.parametrize("aggregation", list(Aggregation))
def test_aggregate__no_events__is_zero(aggregation: Aggregation) -> None:
    assert aggregate(aggregation, []) == 0


def test_aggregate__sum_of_large_and_small__loses_no_digit() -> None:
    events = [Observation(NOON, D("999999999999999999.999999999999")), Observation(NOON, D("0.000000000001"))]
    assert aggregate(Aggregation.SUM, events * 10) == D("10000000000000000000")


def test_aggregate__worked_cases__agree() -> None:
    """A removal of the vectors is a voided event here: it leaves the observations.

    Their prorated sum, rounded up to five decimals, is a rule that we do not have.
    """
    checked = []
    for vector in metering_vectors("aggregation"):
        function = vector["input"]["fn"]
        if function not in list(Aggregation):
            continue
        live: list[str] = []
        for event in vector["input"]["events"]:
            live.remove(event["v"]) if event.get("op") == "remove" else live.append(event["v"])
        observations = [Observation(NOON, D(value) if function == "max" else D(1), value) for value in live]
        assert aggregate(Aggregation(function), observations) == D(vector["expected"]["value"])
        checked.append(vector["id"])
    assert checked == ["agg-unique-removed", "agg-max"]
