"""Max, unique and latest meters on a real PostgreSQL: quotas, late entries, seeds, filters, limited dimensions."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from metering.domain.enums import EventKind
from metering.domain.requests import Verdict
from metering.models import Balance, BalanceValue, DimensionValue, DroppedMonth, UsageEvent
from metering.selectors.quota_statuses import Asked, CallerQuotas, statuses_of
from metering.services.asking import full_quotas
from metering.services.lines import CountedLine
from metering.services.quotas import archive_quota, create_quota
from tests.metering.ledger_world import NOW
from tests.metering.meter_world import ACTOR, Meters

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)


def test_max__keeps_the_highest__and_asks_are_refused_above_the_limit():
    meters = Meters()
    meter = meters.make("context", aggregation="max")
    quota = meters.limit(meter, "100")
    for quantity in ("40", "90", "60"):
        assert meters.post(("context", quantity), kind=EventKind.CONSUME).verdict is Verdict.DONE
    assert meters.standing(quota) == (90, 0)
    assert meters.post(("context", "101"), kind=EventKind.CONSUME).verdict is Verdict.REFUSED
    assert meters.post(("context", "100"), kind=EventKind.CONSUME).verdict is Verdict.DONE
    meters.post(("context", "250"))
    assert meters.standing(quota) == (250, 0)


def test_unique__counts_each_value_once__also_beyond_a_full_quota():
    meters = Meters()
    meter = meters.make("users", aggregation="unique", dimensions=["user"], value_from="user")
    quota = meters.limit(meter, "2")
    for user in ("ann", "bob", "ann"):
        assert meters.post(("users", "1", {"user": user}), kind=EventKind.CONSUME).verdict is Verdict.DONE
    assert meters.standing(quota) == (2, 0)
    assert meters.post(("users", "1", {"user": "cleo"}), kind=EventKind.CONSUME).verdict is Verdict.REFUSED
    assert meters.post(("users", "1", {"user": "bob"}), kind=EventKind.CONSUME).verdict is Verdict.DONE
    assert sorted(BalanceValue.objects.values_list("events", flat=True)) == [2, 2]


def test_full_quotas__unique__reads_only_the_values_that_are_asked_for():
    meters = Meters()
    meter = meters.make("users", aggregation="unique", dimensions=["user"], value_from="user")
    meters.limit(meter, "3")
    for user in ("ann", "bob", "cleo"):
        meters.post(("users", "1", {"user": user}))
    caller = meters.caller()
    [statuses] = statuses_of([Asked(CallerQuotas(caller), NOW)])

    def full(user: str) -> list[Decimal]:
        line = CountedLine(caller.meters["users"], Decimal(1), {"user": user}, NOW)
        return [quantity for _, quantity in full_quotas(caller, [line], statuses, NOW)]

    with CaptureQueriesContext(connection) as queries:
        assert (full("bob"), full("dora")) == ([], [1])
    of_values = [each["sql"] for each in queries if "metering_balancevalue" in each["sql"]]
    assert len(of_values) == 2
    assert all('"metering_balancevalue"."id" IN (' in each for each in of_values)


def test_latest__goes_by_time__not_by_arrival():
    meters = Meters()
    meter = meters.make("seats", aggregation="latest")
    quota = meters.limit(meter, "100")
    meters.post(("seats", "7"), occurred_at=NOW - HOUR)
    meters.post(("seats", "3"), occurred_at=NOW - 2 * HOUR)
    assert meters.standing(quota) == (7, 0)
    meters.post(("seats", "5"), occurred_at=NOW)
    assert meters.standing(quota) == (5, 0)
    meters.post(("seats", "6"), occurred_at=NOW)
    assert meters.standing(quota) == (6, 0)


def test_latest__equal_times__the_newer_event_wins_in_any_order_of_posting():
    meters = Meters()
    meter = meters.make("seats", aggregation="latest")
    quota = meters.limit(meter, "100")
    older = meters.request(("seats", "1"), occurred_at=NOW)
    newer = meters.request(("seats", "2"), occurred_at=NOW)
    meters.world.post(newer)
    meters.world.post(older)
    assert meters.standing(quota) == (2, 0)


@pytest.mark.parametrize(("aggregation", "used"), [("max", Decimal(9)), ("unique", Decimal(2)), ("latest", Decimal(4))])
def test_quota_that_is_new__counts_what_its_period_has_seen(aggregation, used):
    meters = Meters()
    dimensions = {"dimensions": ["user"], "value_from": "user"} if aggregation == "unique" else {}
    meter = meters.make("thing", aggregation=aggregation, **({"dimensions": ["user"]} | dimensions))
    for quantity, user, hours in (("9", "ann", 2), ("2", "bob", 1)):
        meters.post(("thing", quantity, {"user": user}), occurred_at=NOW - hours * HOUR)
    quota = meters.limit(meter, "100")
    meters.post(("thing", "4", {"user": "ann"}))
    assert meters.standing(quota) == (used, 0)
    meters.post(("thing", "1", {"user": "bob"}), occurred_at=NOW - 3 * HOUR)
    assert meters.standing(quota) == (used, 0)


@pytest.mark.parametrize(("aggregation", "used"), [("max", Decimal(9)), ("unique", Decimal(2)), ("latest", Decimal(2))])
def test_late_event__counts_in_the_open_period(aggregation, used):
    meters = Meters()
    unique = {"value_from": "user"} if aggregation == "unique" else {}
    meter = meters.make("thing", aggregation=aggregation, dimensions=["user"], **unique)
    quota = meters.limit(meter, "100")
    yesterday = NOW - timedelta(days=1)
    meters.post(("thing", "5", {"user": "ann"}), at=yesterday)
    Balance.objects.filter(quota_key=quota.key).update(closed_at=NOW)
    meters.post(("thing", "2", {"user": "bob"}))
    meters.post(("thing", "9", {"user": "ann"}), occurred_at=yesterday)
    assert Balance.objects.get(quota_key=quota.key, closed_at=None).used == used


def test_filter__what_does_not_match__is_recorded_and_counts_nowhere():
    meters = Meters()
    meter = meters.make("outcomes", aggregation="count", dimensions=["status"], filter={"status": "succeeded"})
    quota = meters.limit(meter, "1")
    failed = meters.post(("outcomes", "1", {"status": "failed"}), kind=EventKind.CONSUME)
    assert failed.verdict is Verdict.DONE
    [event] = UsageEvent.objects.all()
    assert (event.quantity, event.flags) == (0, ["not_counted"])
    assert meters.post(("outcomes", "1", {"status": "succeeded"}), kind=EventKind.CONSUME).verdict is Verdict.DONE
    assert meters.standing(quota) == (1, 0)


def test_dimension_with_too_many_values__counts_the_rest_as_other():
    meters = Meters()
    meters.make("calls", dimensions=[{"name": "tool", "max_values": 2}])
    for tool in ("a", "b", "c", "a", "d"):
        meters.post(("calls", "1", {"tool": tool}))
    counted = list(UsageEvent.objects.order_by("id").values_list("dimensions", "flags"))
    assert [dimensions["tool"] for dimensions, _ in counted] == ["a", "b", "__other__", "a", "__other__"]
    assert [flags for _, flags in counted] == [[], [], ["dimension_overflow"], [], ["dimension_overflow"]]
    assert sorted(DimensionValue.objects.values_list("value", flat=True)) == ["a", "b"]


@pytest.mark.parametrize(("aggregation", "used"), [("max", Decimal(9)), ("unique", Decimal(3)), ("latest", Decimal(5))])
def test_quota__applies_again_when_earlier_months_are_gone__has_what_they_had_come_to(aggregation, used):
    meters = Meters()
    meter = meters.make("thing", aggregation=aggregation)
    began = NOW.replace(day=1, hour=0)

    def yearly():
        on = {"license": meters.world.license.id}
        return create_quota(tenant=meters.tenant, actor=ACTOR, on=on, meter=meter, limit="100", period="year")

    quota = yearly()
    meters.post(("thing", "9"), occurred_at=began - HOUR)
    meters.post(("thing", "4"), occurred_at=NOW)
    archive_quota(tenant=meters.tenant, quota_id=quota.id, actor=ACTOR)
    # October went, as drop_old_events has it: the base is what it had come to, values of a unique meter stay.
    UsageEvent.objects.filter(occurred_at__lt=began).delete()
    DroppedMonth.objects.create(
        name="october", starts_at=began - 31 * 24 * HOUR, ends_at=began, events=1, dropped_at=NOW, ids_forgotten_at=NOW
    )
    Balance.objects.update(base=0 if aggregation == "unique" else 9)
    yearly()

    meters.post(("thing", "5"), occurred_at=NOW + HOUR)

    assert Balance.objects.get().used == used
    DroppedMonth.objects.all().delete()
