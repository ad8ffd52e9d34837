"""Usage of max, unique and latest meters: exact by bucket, group and in all, and what balances are held against."""

from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from metering.models import Balance
from metering.selectors.usage import UsageQuery, UsageWindow, query_usage
from metering.selectors.value_proofs import unequal_values
from metering.services.rollups import roll_up_usage
from tests.metering.ledger_world import NOW
from tests.metering.meter_world import Meters

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)

EVENTS = [("5", "ann", 3), ("9", "bob", 3), ("2", "ann", 2), ("7", "ann", 1), ("7", "cleo", 1)]


def make_used(aggregation: str) -> tuple[Meters, object]:
    meters = Meters()
    value = {"value_from": "user"} if aggregation == "unique" else {}
    meter = meters.make("thing", aggregation=aggregation, dimensions=["user"], **value)
    for quantity, user, hours in EVENTS:
        meters.post(("thing", quantity, {"user": user}), occurred_at=NOW - hours * HOUR)
    return meters, meter


def ask(meter, **query):
    return query_usage(UsageQuery(meter=meter, start=NOW - 4 * HOUR, end=NOW, timezone=ZoneInfo("UTC"), **query))


@pytest.mark.parametrize(
    ("aggregation", "by_hour", "by_user", "total"),
    [
        ("max", [9, 2, 7], {"ann": 7, "bob": 9, "cleo": 7}, 9),
        ("unique", [2, 1, 2], {"ann": 1, "bob": 1, "cleo": 1}, 3),
        ("latest", [9, 2, 7], {"ann": 7, "bob": 9, "cleo": 7}, 7),
    ],
)
@pytest.mark.parametrize("rolled_up", [False, True])
def test_usage__of_a_meter_that_does_not_add_up__is_read_from_its_events(
    aggregation, by_hour, by_user, total, rolled_up
):
    _, meter = make_used(aggregation)
    if rolled_up:
        roll_up_usage()
    hours = ask(meter, window=UsageWindow.HOUR)
    assert ([row.value for row in hours.rows], hours.total) == (by_hour, total)
    users = ask(meter, group_by=["user"])
    assert ({row.group["user"]: row.value for row in users.rows}, users.total) == (by_user, total)
    assert ask(meter).total == total


@pytest.mark.parametrize("aggregation", ["max", "unique", "latest"])
def test_usage__where_nothing_was_recorded__is_0(aggregation):
    meter = Meters().make("thing", aggregation=aggregation)
    report = ask(meter, window=UsageWindow.HOUR)
    assert (report.rows, report.total) == ([], 0)


@pytest.mark.parametrize("aggregation", ["max", "unique", "latest"])
def test_unequal_values__name_the_balance_that_was_tampered_with(aggregation):
    meters, meter = make_used(aggregation)
    quota = meters.limit(meter, "100")
    on_tenant = meters.limit(meter, "100", on="tenant")
    meters.post(("thing", "1", {"user": "dan"}))
    assert list(unequal_values([meters.tenant.id])) == []

    balance = Balance.objects.get(quota_key=quota.key)
    Balance.objects.filter(id=balance.id).update(used=Decimal(77))
    [found] = unequal_values([meters.tenant.id])
    assert (found.id, found.used, found.sought) == (balance.id, 77, balance.used)
    assert list(unequal_values([meters.world.license.id])) == []
    assert Balance.objects.get(quota_key=on_tenant.key).used == balance.used
