"""Top-ups in the ledger: granted against, used up in order, never lost or overspent in a race."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from common.errors import Conflict, Invalid
from licenses.models import Plan
from metering.domain.enums import EventKind
from metering.domain.requests import Verdict
from metering.models import Balance, Quota, TopUp, TopUpBurn
from metering.selectors.quota_statuses import Asked, CallerQuotas, QuotaStatus, statuses_of
from metering.services.license_plans import update_license_with_terms
from metering.services.plan_terms import update_plan_with_terms
from metering.services.quotas import archive_quota, update_quota
from metering.services.top_ups import create_top_up, update_top_up, void_top_up
from tenants.models import AuditEntry, OutboxEvent
from tests.factories import ACTOR
from tests.metering.ledger_world import NOW, World, make_world
from tests.parallel import at_once

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)


def give(world: World, quota: Quota, amount: str, **fields: Any) -> TopUp:
    on = fields.pop("on", None)
    fields.setdefault("starts_at", NOW - DAY)
    return create_top_up(tenant=world.tenant, actor=ACTOR, quota=quota, amount=amount, on=on, **fields)


def consume(world: World, *quantities: str) -> list[Verdict | None]:
    requests = [world.request(quantity, kind=EventKind.CONSUME) for quantity in quantities]
    world.post(*requests)
    return [request.verdict for request in requests]


def status(world: World) -> QuotaStatus:
    caller = world.caller()
    [[found]] = statuses_of([Asked(CallerQuotas(caller), NOW)])
    return found


def left(*top_ups: TopUp) -> list[Decimal]:
    return [TopUp.objects.get(id=each.id).amount - TopUp.objects.get(id=each.id).used for each in top_ups]


def test_consume__hard_quota_with_top_ups__grants_up_to_limit_and_top_ups() -> None:
    world = make_world()
    quota = world.quota("10")
    extra = give(world, quota, "5")

    assert consume(world, "12", "4", "3", "1") == [Verdict.DONE, Verdict.REFUSED, Verdict.DONE, Verdict.REFUSED]

    assert left(extra) == [0]
    balance = Balance.objects.get(quota_key=quota.key)
    assert (balance.used, balance.burned) == (15, 5)
    assert [(burn.top_up_id, burn.balance_id, burn.quantity) for burn in TopUpBurn.objects.all()] == [
        (extra.id, balance.id, 5)
    ]


def test_statuses__top_up__is_shown_apart_and_in_what_remains() -> None:
    world = make_world()
    quota = world.quota("10")
    give(world, quota, "5")
    assert (status(world).top_ups, status(world).remaining) == (5, 15)

    consume(world, "12")

    found = status(world)
    assert (found.quota.limit, found.top_ups, found.used, found.remaining) == (10, 5, 12, 3)
    assert consume(world, "4", "3") == [Verdict.REFUSED, Verdict.DONE]
    assert (status(world).remaining, status(world).top_ups) == (0, 5)


def test_consume__holds_open__count_against_what_top_ups_have_left() -> None:
    world = make_world()
    quota = world.quota("10")
    give(world, quota, "5")
    hold = world.request("14", kind=EventKind.HOLD)
    world.post(hold)

    assert hold.verdict is Verdict.DONE
    assert consume(world, "2", "1") == [Verdict.REFUSED, Verdict.DONE]


def test_usage__soft_quota_with_top_ups__what_they_cover_is_no_overage() -> None:
    world = make_world()
    quota = world.quota("10", mode="soft")
    give(world, quota, "5")

    world.post(world.request("13"))

    assert status(world).state == "near_limit"
    world.post(world.request("4"))
    balance = Balance.objects.get(quota_key=quota.key)
    assert (balance.used, balance.burned, status(world).state) == (17, 5, "overage")


def test_usage__two_top_ups_and_two_batches__burn_adds_to_what_was_burnt() -> None:
    world = make_world()
    quota = world.quota("0", mode="soft")
    first, second = give(world, quota, "5"), give(world, quota, "5", priority=1)

    world.post(world.request("3"))
    world.post(world.request("4"), world.request("1"))

    assert left(first, second) == [0, 2]
    burns = {burn.top_up_id: burn.quantity for burn in TopUpBurn.objects.all()}
    assert burns == {first.id: 5, second.id: 3}


def test_consume__many_at_once__never_lose_nor_overspend_a_top_up() -> None:
    world = make_world()
    quota = world.quota("10")
    extra = [give(world, quota, "7"), give(world, quota, "3")]

    found = at_once([lambda: consume(world, "1") for _ in range(24)])

    verdicts = [verdict for verdicts in found if isinstance(verdicts, list) for verdict in verdicts]
    assert sorted(verdicts) == [Verdict.DONE] * 20 + [Verdict.REFUSED] * 4
    balance = Balance.objects.get(quota_key=quota.key)
    assert (balance.used, balance.burned, left(*extra)) == (20, 10, [0, 0])
    assert sum(TopUpBurn.objects.values_list("quantity", flat=True)) == 10


def test_create__while_others_consume__is_seen_by_every_later_decision() -> None:
    world = make_world()
    quota = world.quota("4")

    at_once([lambda: give(world, quota, "6"), *(lambda: consume(world, "1") for _ in range(8))])
    consume(world, *["1"] * 12)

    assert Balance.objects.get(quota_key=quota.key).used == 10
    assert TopUp.objects.get().used == 6


def test_void__after_some_was_used__takes_back_the_rest_and_nothing_else() -> None:
    world = make_world()
    quota = world.quota("10")
    extra = give(world, quota, "5")
    consume(world, "12")

    void_top_up(tenant=world.tenant, top_up_id=extra.id, actor=ACTOR, reason="refunded")
    void_top_up(tenant=world.tenant, top_up_id=extra.id, actor=ACTOR)

    assert (status(world).top_ups, status(world).remaining) == (2, 0)
    assert consume(world, "1") == [Verdict.REFUSED]
    assert left(extra) == [3]
    actions = list(AuditEntry.objects.filter(target_id=extra.public_id).values_list("action", flat=True))
    assert sorted(actions) == ["top_up.created", "top_up.voided"]
    with pytest.raises(Conflict, match="voided"):
        update_top_up(tenant=world.tenant, top_up_id=extra.id, actor=ACTOR, priority=2)


def test_create__quota_was_exceeded__recovers_and_can_be_exceeded_again() -> None:
    world = make_world()
    quota = world.quota("10", thresholds=[80], period="lifetime")
    consume(world, "10")

    give(world, quota, "5")
    consume(world, "5")

    types = list(OutboxEvent.objects.filter(type__startswith="quota.").order_by("id").values_list("type", flat=True))
    assert types == ["quota.threshold_reached", "quota.exceeded", "quota.recovered", "quota.exceeded"]
    recovered = OutboxEvent.objects.get(type="quota.recovered").data
    assert (recovered["used"], recovered["allowance"], recovered["limit"]) == ("10", "15", "10")


def test_update__limit_changes_in_mid_period__what_was_counted_and_burnt_stays() -> None:
    world = make_world()
    quota = world.quota("10", period="lifetime")
    extra = give(world, quota, "5")
    consume(world, "12")

    update_quota(tenant=world.tenant, quota_id=quota.id, actor=ACTOR, limit="20")
    assert (status(world).remaining, status(world).top_ups) == (13, 5)
    update_quota(tenant=world.tenant, quota_id=quota.id, actor=ACTOR, limit="5")

    found = status(world)
    assert (found.used, found.remaining, found.state) == (12, 0, "exceeded")
    assert left(extra) == [3]
    assert OutboxEvent.objects.filter(type="quota.recovered").count() == 0


def test_update__limit_raised_above_what_is_used__recovers_at_once() -> None:
    world = make_world()
    quota = world.quota("10", period="lifetime")
    consume(world, "10")

    update_quota(tenant=world.tenant, quota_id=quota.id, actor=ACTOR, limit="11")

    assert OutboxEvent.objects.filter(type="quota.recovered").count() == 1
    assert consume(world, "1") == [Verdict.DONE]
    assert OutboxEvent.objects.filter(type="quota.exceeded").count() == 2


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"amount": "0"}, "amount", "not_positive"),
        ({"amount": "-1"}, "amount", "quantity_negative"),
        ({"amount": "1", "on": {"tenant": True}}, "on", "wrong_scope"),
        ({"amount": "1", "expires_at": NOW - DAY}, "expires_at", "not_after_start"),
        ({"amount": "1", "priority": -1}, "priority", "invalid"),
        ({"amount": "1", "origin": "stolen"}, "origin", "invalid"),
    ],
)
def test_create__what_makes_no_sense__is_refused_with_its_field(fields: dict[str, Any], field: str, code: str) -> None:
    world = make_world()
    quota = world.quota("10")

    with pytest.raises(Invalid) as caught:
        give(world, quota, **fields)

    assert [(error["field"], error["code"]) for error in caught.value.errors] == [(field, code)]


def test_create__plan_quota__needs_a_subject_that_has_it() -> None:
    world = make_world()
    quota = world.quota("10", on="plan")
    other = make_world()

    for on, field in ((None, "on"), ({"license": other.license}, "on.license")):
        with pytest.raises(Invalid) as caught:
            give(world, quota, "5", on=on)
        assert caught.value.errors[0]["field"] == field
    give(world, quota, "5", on={"license": world.license})

    assert consume(world, "15", "1") == [Verdict.DONE, Verdict.REFUSED]


def test_create__archived_quota__is_unknown() -> None:
    world = make_world()
    quota = world.quota("10")
    archive_quota(tenant=world.tenant, quota_id=quota.id, actor=ACTOR)

    with pytest.raises(Invalid) as caught:
        give(world, quota, "5")

    assert caught.value.errors[0]["code"] == "not_found"


def plan_with(world: World, limit: str, code: str, **fields: Any) -> Plan:
    plan = Plan.objects.create(tenant=world.tenant, product=world.plan.product, code=code, name=code)
    create = {"meter": world.meter.code, "limit": limit, "period": "lifetime", "mode": "soft", **fields}
    update_plan_with_terms(tenant=world.tenant, plan_id=plan.id, actor=ACTOR, quotas=[create])
    return plan


def change_plan(world: World, plan: Plan) -> None:
    update_license_with_terms(tenant=world.tenant, license_id=world.license.id, actor=ACTOR, plan=plan.code)


def test_change_of_plan__quota_that_counts_the_same__takes_top_ups_and_what_they_covered_along() -> None:
    world = make_world()
    first, second = plan_with(world, "10", "first"), plan_with(world, "12", "second")
    change_plan(world, first)
    extra = give(world, first.quotas.get(), "5", on={"license": world.license})
    world.post(world.request("13"))
    assert (status(world).state, left(extra)) == ("near_limit", [2])

    change_plan(world, second)

    found = status(world)
    assert (found.quota.limit, found.used, found.top_ups, found.remaining) == (12, 13, 5, 4)
    world.post(world.request("3"))
    # Twelve of its own and three that were covered come first.
    assert (left(extra), status(world).remaining) == ([1], 1)
    change_plan(world, first)
    # What was covered stays so: 10, the 4 that the top-up has covered by now, and its last one.
    assert (status(world).used, status(world).top_ups, status(world).state) == (16, 5, "overage")


def test_change_of_plan__no_quota_that_counts_the_same__top_ups_rest_until_it_comes_back() -> None:
    world = make_world()
    first, second = plan_with(world, "10", "first"), plan_with(world, "10", "second", period="year")
    change_plan(world, first)
    give(world, first.quotas.get(), "5", on={"license": world.license})

    change_plan(world, second)
    assert status(world).top_ups == 0
    change_plan(world, first)

    assert status(world).top_ups == 5


def test_ceiling__soft_quota__is_absolute_and_rises_with_top_ups() -> None:
    world = make_world()
    quota = world.quota("10", mode="soft", ceiling=Decimal(15))
    assert consume(world, "15", "1") == [Verdict.DONE, Verdict.REFUSED]
    assert status(world).state == "exceeded"

    give(world, quota, "5")

    assert (status(world).state, status(world).remaining) == ("overage", 0)
    assert consume(world, "6", "5", "1") == [Verdict.REFUSED, Verdict.DONE, Verdict.REFUSED]
    balance = Balance.objects.get(quota_key=quota.key)
    assert (balance.used, balance.burned) == (20, 5)


def test_thresholds__crossed_by_many_at_once__are_told_once_each_of_all_that_is_allowed() -> None:
    world = make_world()
    quota = world.quota("10", thresholds=[50, 100])
    give(world, quota, "10")

    at_once([lambda: consume(world, "1") for _ in range(24)])

    told = OutboxEvent.objects.filter(type="quota.threshold_reached").order_by("id")
    assert [(event.data["threshold"], event.data["used"], event.data["allowance"]) for event in told] == [
        (50, "10", "20"),
        (100, "20", "20"),
    ]
    assert OutboxEvent.objects.filter(type="quota.exceeded").count() == 1


@pytest.mark.parametrize("on", ["license", "customer", "agent", "tenant"])
def test_consume__top_up_on_any_level__holds_there(on: str) -> None:
    world = make_world(agents=2)
    quota = world.quota("3", on=on, agent=world.agents[-1])
    give(world, quota, "4")
    below = world.request("7", kind=EventKind.CONSUME, caller=world.caller())
    over = world.request("1", kind=EventKind.CONSUME, caller=world.caller())

    world.post(below, over)

    assert (below.verdict, over.verdict) == (Verdict.DONE, Verdict.REFUSED)


def test_void__lifts_an_exceeded_quota__is_told_as_recovered() -> None:
    world = make_world()
    world.quota("10")
    consume(world, "10")
    world.post(world.request("-4"))

    assert consume(world, "4") == [Verdict.DONE]
    types = list(OutboxEvent.objects.filter(type__startswith="quota.ex").values_list("type", flat=True))
    assert (len(types), OutboxEvent.objects.filter(type="quota.recovered").count()) == (2, 1)


def test_batch__without_top_ups__pays_no_statement_more() -> None:
    world = make_world()
    quota = world.quota("1000")
    caller = world.caller()
    world.post(world.request("1", caller=caller))

    with CaptureQueriesContext(connection) as plain:
        world.post(world.request("1", caller=caller))
    give(world, quota, "5")
    caller = world.caller()
    with CaptureQueriesContext(connection) as topped_up:
        world.post(world.request("1", caller=caller))

    assert len(topped_up) == len(plain) + 1
    assert not any("topup" in query["sql"] for query in plain.captured_queries)
