"""No worked case of other billing systems is left out: each is tried by a test, or a test says which rule wins."""

import ast
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from metering.domain.aggregation import Observation, aggregate
from metering.domain.allowances import rest
from metering.domain.enums import Aggregation
from tests.metering.domain.test_top_up_burn import balance, count, grants, moment, terms
from tests.vectors import all_metering_vectors, metering_vectors

READERS = ("metering_vectors", "vectors")
#: Of these kinds a test takes some cases only; the others are tried here.
IN_PART = {"aggregation": {"agg-prorated-sum"}, "grant_burn_down": {"grant-reset-2100"}}


def kinds_read(tree: ast.AST) -> Iterator[str]:
    """The kinds of vectors that a module's tests ask for: all cases of a kind come together."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in READERS:
            yield from (each.value for each in node.args if isinstance(each, ast.Constant))


def test_vectors__every_case__has_an_id_of_its_own_and_is_read_by_a_test() -> None:
    tests = [path for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)]
    read = {kind for path in tests for kind in kinds_read(ast.parse(path.read_text(encoding="utf-8")))}
    every = all_metering_vectors()
    assert len({vector["id"] for vector in every}) == len(every)
    assert {vector["id"] for vector in every if vector["kind"] not in read} == set()
    assert {vector["id"]: vector["source"] for vector in every if not vector["source"]} == {}


def test_vectors__cases_that_others_pass_over__are_these() -> None:
    for kind, ids in IN_PART.items():
        assert ids < {vector["id"] for vector in metering_vectors(kind)}


def test_prorated_sum__worked_case__the_rules_win_and_units_count_whole() -> None:
    """Its source weighs units with the days left and rounds the sum up; here a unit is a fact, whenever it is used."""
    [vector] = [each for each in metering_vectors("aggregation") if each["id"] == "agg-prorated-sum"]
    given = vector["input"]
    quantities = [given["carried"], *(event["v"] for event in given["events"])]
    observations = [Observation(datetime(2026, 11, 1, tzinfo=UTC), Decimal(each)) for each in quantities]
    assert aggregate(Aggregation.SUM, observations) == 29 != Decimal(vector["expected"]["value"])


def test_grants_after_the_usage__worked_case__the_rules_win_and_they_stay_whole() -> None:
    """Its source burns them for earlier usage and rolls the debt over; here a top-up covers what comes after its start,
    and no debt is carried on.
    """
    [vector] = [each for each in metering_vectors("grant_burn_down") if each["id"] == "grant-reset-2100"]
    found = grants(vector)
    quota, state = terms(), balance([top_up for top_ups in found.values() for top_up in top_ups])
    for event in vector["input"]["usage"]:
        count(state, quota, Decimal(event["v"]), moment(event["t"]))
    until = moment(vector["input"]["until"])
    assert {name: rest(top_ups, until) for name, top_ups in found.items()} == {"g1": 1000, "g2": 1000}
    assert (state.used, state.burned) == (2100, 0)
