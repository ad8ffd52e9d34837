"""Meters of every kind under many threads: values, budgets and limited dimensions are exact in any interleaving."""

import random
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import connection

from metering.domain.enums import EventKind
from metering.domain.requests import Request, Verdict
from metering.models import BalanceValue, DimensionValue, UsageEvent
from metering.services import dimension_values
from metering.services.ledger import post
from tests.metering.ledger_world import NOW
from tests.metering.meter_world import Meters, card

pytestmark = pytest.mark.django_db(transaction=True)


def in_threads(requests: list[Request], size: int = 5) -> list[Verdict | None]:
    def run(batch: list[Request]) -> None:
        try:
            post(batch)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, [requests[start : start + size] for start in range(0, len(requests), size)]))
    return [request.verdict for request in requests]


def test_unique__asked_by_many_threads__never_goes_past_its_quota():
    meters = Meters()
    users = meters.make("users", aggregation="unique", dimensions=["user"], value_from="user")
    quota = meters.limit(users, "10")
    caller = meters.caller()
    names = [f"user-{number % 15}" for number in range(120)]
    random.Random(3).shuffle(names)
    requests = [meters.request(("users", "1", {"user": name}), kind=EventKind.CONSUME, caller=caller) for name in names]
    verdicts = in_threads(requests)

    assert meters.standing(quota) == (10, 0)
    granted = {name for name, verdict in zip(names, verdicts, strict=True) if verdict is Verdict.DONE}
    assert len(granted) == BalanceValue.objects.count() == 10
    assert sum(BalanceValue.objects.values_list("events", flat=True)) == UsageEvent.objects.count()


@pytest.mark.parametrize("aggregation", ["max", "latest"])
def test_value__reported_by_many_threads__is_that_of_its_events(aggregation):
    meters = Meters()
    quota = meters.limit(meters.make("thing", aggregation=aggregation), "1000000")
    caller = meters.caller()
    requests = [
        meters.request(("thing", str(number)), caller=caller, occurred_at=NOW)
        for number in random.Random(5).sample(range(1000), 100)
    ]
    in_threads(requests)
    lines = [request.lines[0] for request in requests]
    newest = max(lines, key=lambda line: line.event_id)
    sought = max(line.quantity for line in lines) if aggregation == "max" else newest.quantity
    assert meters.standing(quota) == (sought, 0)


def test_budget__asked_by_many_threads__is_never_overdrawn():
    meters = Meters()
    meters.make("in")
    budget = meters.limit(meters.make("spend", unit="USD", rate_card=card(("in", "0.03"))), "1")
    caller = meters.caller()
    requests = [meters.request(("in", "5"), kind=EventKind.CONSUME, caller=caller) for _ in range(40)]
    verdicts = in_threads(requests, size=3)

    assert verdicts.count(Verdict.DONE) == 6
    assert meters.standing(budget) == (Decimal("0.9"), 0)
    assert UsageEvent.objects.filter(derived_from__isnull=False).count() == 6


def test_dimension__with_a_limit__keeps_just_so_many_values():
    meters = Meters()
    meters.make("calls", dimensions=[{"name": "tool", "max_values": 5}])
    dimension_values.forget_all()
    caller = meters.caller()
    names = [f"tool-{number % 20}" for number in range(100)]
    in_threads([meters.request(("calls", "1", {"tool": name}), caller=caller) for name in names])

    kept = set(DimensionValue.objects.values_list("value", flat=True))
    counted = list(UsageEvent.objects.values_list("dimensions", "flags"))
    assert len(kept) == 5
    assert {dimensions["tool"] for dimensions, _ in counted} == kept | {"__other__"}
    assert sum(1 for _, flags in counted if flags) == 75
