"""What a quota that can bill counts where it comes to a plan, or a licence to its plan, in the middle or afterwards."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from common.clock import real_clock
from licenses.domain.enums import PlanRole
from licenses.models import License, LicensePlan
from metering.domain.enums import Aggregation, QuotaMode
from metering.models import Balance, OverageRecord, Quota
from metering.services.closing import close_periods
from metering.services.license_plans import update_license_with_terms
from metering.services.overage import accrue_overage
from metering.services.plan_terms import create_plan_with_terms, update_plan_with_terms
from metering.services.quotas import update_quota
from metering.services.rollups import roll_up_usage
from metering.services.verification import verify_ledger
from tenants.domain.actors import Actor, worker
from tests.metering.ledger_world import World, make_world

pytestmark = pytest.mark.django_db(transaction=True)

ACTOR: Actor = worker("test")
NOW = real_clock().now()
SOFT = {"meter": "tokens", "limit": "3", "period": "month", "mode": "soft"}
PRICE = {"meter": "tokens", "model": "per_unit", "unit_price": "1", "currency": "USD"}


def change(world: World, **changes: Any) -> None:
    update_plan_with_terms(tenant=world.tenant, plan_id=world.plan.id, actor=ACTOR, **changes)


def bills() -> list[tuple[str, Decimal, Decimal, Decimal]]:
    accrue_overage(everything=True)
    rows = OverageRecord.objects.order_by("status", "used")
    return [(row.status, row.limit, row.used, row.amount) for row in rows]


def test_plan__takes_a_priced_quota__bills_those_who_used_before_and_never_again() -> None:
    world = make_world(around=NOW)
    world.post(world.request("7", at=NOW))
    change(world, quotas=[SOFT], prices=[PRICE])
    assert bills() == [("open", Decimal(3), Decimal(7), Decimal(4))]
    assert verify_ledger().differences == ()


def test_plan__takes_a_priced_quota__counts_no_more_than_was_used_once_it_is_used_again() -> None:
    world = make_world(around=NOW)
    world.post(world.request("7", at=NOW))
    roll_up_usage()
    change(world, quotas=[SOFT], prices=[PRICE])
    world.post(world.request("2", at=NOW))
    assert bills() == [("open", Decimal(3), Decimal(9), Decimal(6))]


def test_plan__takes_a_quota_whose_meter_does_not_add_up__counts_what_the_month_has_seen() -> None:
    world = make_world(around=NOW)
    world.meter.aggregation = Aggregation.MAX
    world.meter.save()
    world.post(world.request("7", at=NOW), world.request("5", at=NOW))
    change(world, quotas=[SOFT], prices=[PRICE])
    assert bills() == [("open", Decimal(3), Decimal(7), Decimal(4))]


@pytest.mark.parametrize("alone", [True, False])
def test_plan__hard_quota_becomes_soft__bills_those_who_used_before_it_was_made(alone: bool) -> None:
    world = make_world(around=NOW)
    world.post(world.request("7", at=NOW))
    change(world, quotas=[{**SOFT, "mode": "hard"}])
    if alone:
        [quota] = Quota.objects.all()
        update_quota(tenant=world.tenant, quota_id=quota.id, actor=ACTOR, mode="soft")
        change(world, prices=[PRICE])
    else:
        change(world, quotas=[SOFT], prices=[PRICE])
    assert bills() == [("open", Decimal(3), Decimal(7), Decimal(4))]


def test_plan__loses_a_priced_quota_and_takes_it_again__counts_what_came_between() -> None:
    world = make_world(around=NOW)
    change(world, quotas=[SOFT], prices=[PRICE])
    world.post(world.request("7", at=NOW))
    change(world, quotas=[], prices=[])
    world.post(world.request("2", at=NOW))
    change(world, quotas=[SOFT], prices=[PRICE])
    assert bills() == [("open", Decimal(3), Decimal(9), Decimal(6))]


def test_plan__takes_a_priced_quota__leaves_those_without_usage_and_of_other_plans_alone() -> None:
    world = make_world(around=NOW)
    for plan in (world.plan, None):
        other = License.objects.create(tenant=world.tenant, customer=world.license.customer, starts_at=NOW)
        if plan is not None:
            LicensePlan.objects.create(tenant=world.tenant, license=other, plan=plan, role=PlanRole.BASE)
    world.post(world.request("7", at=NOW))
    change(world, quotas=[SOFT], prices=[PRICE])
    assert [balance.subject_id for balance in Balance.objects.all()] == [world.license.id]


def test_add_on__takes_a_quota_that_counts_as_the_base_plans__adds_to_its_allowance() -> None:
    world = make_world(around=NOW)
    change(world, quotas=[SOFT], prices=[PRICE])
    create_plan_with_terms(tenant=world.tenant, actor=ACTOR, code="more", name="More", product="researcher")
    update_license_with_terms(tenant=world.tenant, license_id=world.license.id, actor=ACTOR, add_ons=["more"])
    world.post(world.request("7", at=NOW))
    more = LicensePlan.objects.get(license=world.license, role=PlanRole.ADD_ON).plan
    update_plan_with_terms(tenant=world.tenant, plan_id=more.id, actor=ACTOR, quotas=[{**SOFT, "limit": "2"}])
    assert Balance.objects.count() == 1
    assert bills() == [("open", Decimal(5), Decimal(7), Decimal(2))]


def test_plan__takes_a_price_for_a_quota_that_it_had__bills_the_running_period_from_its_beginning() -> None:
    world = make_world(around=NOW)
    change(world, quotas=[SOFT])
    world.post(world.request("7", at=NOW))
    assert bills() == []
    change(world, prices=[PRICE])
    assert bills() == [("open", Decimal(3), Decimal(7), Decimal(4))]


def test_plan__takes_a_price_that_starts_now__bills_nothing_of_the_running_period() -> None:
    world = make_world(around=NOW)
    change(world, quotas=[SOFT])
    world.post(world.request("7", at=NOW))
    change(world, prices=[{**PRICE, "starts_at": NOW}])
    assert bills() == []


# --- a period that has ended, and is not closed yet


def ended(world: World) -> datetime:
    """An instant in the last hour of a day that is over by now."""
    return NOW.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(minutes=30)


DAILY = {**SOFT, "period": "day"}


def make_plan(world: World, code: str, **terms: Any) -> None:
    create_plan_with_terms(tenant=world.tenant, actor=ACTOR, code=code, name=code, product="researcher", **terms)


def move(world: World, code: str) -> None:
    update_license_with_terms(tenant=world.tenant, license_id=world.license.id, actor=ACTOR, plan=code)


def close() -> list[tuple[str, Decimal, Decimal, Decimal]]:
    close_periods(before=NOW)
    return bills()


def test_late_event__licence_has_moved_since__is_billed_by_the_plan_that_held_at_its_time() -> None:
    world = make_world(around=NOW)
    change(world, quotas=[DAILY], prices=[PRICE])
    make_plan(world, "team", quotas=[{**DAILY, "limit": "0"}], prices=[{**PRICE, "unit_price": "5"}])
    world.post(world.request("7", at=ended(world)))
    move(world, "team")
    world.post(world.request("2", occurred_at=ended(world), at=real_clock().now()))
    assert bills() == [("open", Decimal(3), Decimal(9), Decimal(6))]
    world.post(world.request("1", occurred_at=ended(world), at=real_clock().now()))
    assert close() == [("finalized", Decimal(3), Decimal(10), Decimal(7))]
    assert verify_ledger().differences == ()


def test_late_event__licence_came_from_a_plan_without_a_price__is_not_billed_by_the_new_plan() -> None:
    world = make_world(around=NOW)
    make_plan(world, "team", quotas=[DAILY], prices=[PRICE])
    world.post(world.request("7", at=ended(world)))
    move(world, "team")
    world.post(world.request("2", occurred_at=ended(world), at=real_clock().now()))
    assert close() == []


def test_late_event__after_its_period_was_closed_under_the_old_plan__is_billed_by_neither() -> None:
    world = make_world(around=NOW)
    change(world, quotas=[DAILY], prices=[PRICE])
    make_plan(world, "team", quotas=[DAILY], prices=[PRICE])
    world.post(world.request("7", at=ended(world)))
    move(world, "team")
    assert close() == [("finalized", Decimal(3), Decimal(7), Decimal(4))]
    world.post(world.request("2", occurred_at=ended(world), at=real_clock().now()))
    assert close() == [("finalized", Decimal(3), Decimal(7), Decimal(4))]
    assert verify_ledger().differences == ()


def test_late_event__quota_came_to_the_plan_afterwards__is_billed_as_a_quota_holds_from_ever() -> None:
    world = make_world(around=NOW)
    world.post(world.request("7", at=ended(world)))
    change(world, quotas=[DAILY], prices=[PRICE])
    world.post(world.request("2", occurred_at=ended(world), at=real_clock().now()))
    assert close() == [("finalized", Decimal(3), Decimal(9), Decimal(6))]


def test_plan__takes_a_priced_quota_when_a_period_has_just_ended__bills_it_as_long_as_it_is_open(settings: Any) -> None:
    settings.PERMETER_CLOSE_GRACE = timedelta(days=1)
    world = make_world(around=NOW)
    world.post(world.request("7", at=ended(world)))
    change(world, quotas=[DAILY], prices=[PRICE])
    assert bills() == [("open", Decimal(3), Decimal(7), Decimal(4))]


def test_late_event__quota_was_taken_from_the_plan_afterwards__is_billed() -> None:
    world = make_world(around=NOW)
    change(world, quotas=[DAILY], prices=[PRICE])
    world.post(world.request("7", at=ended(world)))
    change(world, quotas=[], prices=[])
    world.post(world.request("2", occurred_at=ended(world), at=real_clock().now()))
    assert close() == [("finalized", Decimal(3), Decimal(9), Decimal(6))]


def test_history__of_the_time_before_a_plan_that_never_changed__is_billed_by_it() -> None:
    world = make_world(around=NOW)
    world.quota("3", on="plan", mode=QuotaMode.SOFT)
    change(world, prices=[PRICE])
    world.post(world.request("7", occurred_at=ended(world) - timedelta(days=20), at=real_clock().now()))
    assert close() == [("finalized", Decimal(3), Decimal(7), Decimal(4))]
