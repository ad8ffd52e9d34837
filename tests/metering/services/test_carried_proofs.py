"""What was carried over, top-ups and parts of rolling windows: proven, and rebuilt where facts tell."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.db.models import F

from common.clock import real_clock
from metering.domain.enums import EventKind
from metering.models import Balance, Quota, TopUp, TopUpBurn
from metering.services.quotas import update_quota
from metering.services.repairing import repair_ledger
from metering.services.verification import Difference, verify_ledger
from tests.factories import ACTOR
from tests.metering.ledger_world import NOW, World, make_world
from tests.metering.services.test_carry_over import BEGAN, DAY, carrying, consume, use

pytestmark = pytest.mark.django_db(transaction=True)


def found(kind: str) -> list[Difference]:
    return [each for each in verify_ledger().differences if each.kind == kind]


def three_days(most: str | None = None) -> World:
    """4 of 10, then 5, then 1 after a day in which nothing was used; 6 and 11 carried over, then 21."""
    world = make_world()
    carrying(world, most=most, carry_over_since=NOW)
    consume(world, "4", NOW)
    consume(world, "5", NOW + DAY)
    consume(world, "1", NOW + 3 * DAY)
    use(world, "2", NOW, NOW + 3 * DAY)
    return world


def figures() -> list[tuple[Decimal | None, Decimal]]:
    return list(Balance.objects.order_by("period_start").values_list("brought", "carried"))


@pytest.mark.parametrize("most", [None, "8"])
def test_verify__carried_over_and_late__no_difference(most: str | None) -> None:
    three_days(most)

    assert verify_ledger().differences == ()
    expected = [4, 9, 19] if most is None else [4, 8, 8]
    assert [carried for _, carried in figures() if carried] == expected


@pytest.mark.parametrize(
    ("column", "days", "amount"),
    [("brought", 1, 1), ("carried", 1, "0.000000000001"), ("brought", 3, -2), ("carried", 3, 5), ("carried", 2, -1)],
)
@pytest.mark.parametrize("most", [None, "8"])
def test_repair__carried_changed_by_hand__is_found_and_as_it_was(
    column: str, days: int, amount: int | str, most: str | None
) -> None:
    three_days(most)
    before = figures()
    balance = Balance.objects.get(period_start=(NOW + days * DAY).replace(hour=0))
    Balance.objects.filter(pk=balance.pk).update(**{column: F(column) + Decimal(amount)})

    assert [each.subject for each in found("carried")] == [balance.public_id]
    repaired = repair_ledger(actor=ACTOR)

    assert (repaired.after.differences, figures()) == ((), before)


def test_verify__limit_changed_since__is_no_difference_and_what_nobody_can_tell_is_left() -> None:
    world = three_days()
    [quota] = Quota.objects.filter(tenant=world.tenant)
    update_quota(tenant=world.tenant, quota_id=quota.id, actor=ACTOR, limit="50")

    assert found("carried") == []

    Balance.objects.filter(period_start=(NOW + DAY).replace(hour=0)).update(brought=7, carried=7)
    assert len(found("carried")) == 1
    assert "4 or 44" in found("carried")[0].text
    assert [each.kind for each in repair_ledger(actor=ACTOR).refused] == ["carried"]


def test_repair__burned_used_and_carried_changed_together__are_all_as_they_were() -> None:
    world = make_world()
    quota = carrying(world, carry_over_since=NOW)
    TopUp.objects.create(
        tenant=world.tenant,
        quota=quota,
        quota_key=quota.key,
        scope=quota.scope,
        subject_id=world.license.id,
        amount=5,
        starts_at=BEGAN,
    )
    consume(world, "12", NOW)
    consume(world, "1", NOW + DAY)
    assert verify_ledger().differences == ()
    assert (TopUp.objects.get().used, TopUpBurn.objects.get().quantity) == (2, 2)
    columns = ("used", "burned", "brought", "carried")
    before = list(Balance.objects.order_by("period_start").values_list(*columns))

    Balance.objects.filter(period_start=NOW.replace(hour=0)).update(used=9, burned=1)
    Balance.objects.exclude(brought=None).update(brought=F("brought") + 3, carried=F("carried") + 3)
    TopUp.objects.update(used=4)

    assert {each.kind for each in verify_ledger().differences} == {"balance", "burned", "top_up", "carried"}
    assert repair_ledger(actor=ACTOR).after.differences == ()
    assert list(Balance.objects.order_by("period_start").values_list(*columns)) == before
    assert TopUp.objects.get().used == 2


def rolling_world() -> World:
    """7 used in three parts of a window of an hour that is under way."""
    now = real_clock().now()
    world = make_world(around=now)
    world.quota("10", period="rolling", rolling_seconds=3600)
    for minutes, quantity in ((20, "4"), (10, "2"), (0, "1")):
        at = now - timedelta(minutes=minutes)
        world.post(world.request(quantity, kind=EventKind.CONSUME, at=at))
    return world


def test_repair__part_of_a_rolling_window_changed__is_as_it_was() -> None:
    rolling_world()
    assert verify_ledger().differences == ()
    Balance.objects.filter(used=2).update(used=3)

    assert len(found("balance")) == 1
    assert repair_ledger(actor=ACTOR).after.differences == ()
    assert sorted(Balance.objects.values_list("used", flat=True)) == [1, 2, 4]


def test_repair__parts_of_a_rolling_window_gone__are_made_again() -> None:
    rolling_world()
    before = list(Balance.objects.order_by("id").values_list("id", "used", "period_start", "period_end"))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM metering_balance WHERE used <> 4")

    assert len(found("window")) == 1
    assert repair_ledger(actor=ACTOR).after.differences == ()
    assert list(Balance.objects.order_by("id").values_list("id", "used", "period_start", "period_end")) == before
