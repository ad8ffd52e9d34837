"""Carry-over: what is left of a period goes into the next, exactly, whatever is late, skipped or at once."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from metering.domain.allowances import brought_over, carried_of
from metering.domain.enums import EventKind
from metering.domain.requests import Verdict
from metering.models import Balance, Quota
from metering.selectors.quota_statuses import Asked, CallerQuotas, QuotaStatus, statuses_of
from metering.services.closing import close_periods
from tests.metering.ledger_world import NOW, World, make_world
from tests.parallel import at_once

pytestmark = pytest.mark.django_db(transaction=True)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BEGAN = NOW - 10 * DAY


def carrying(world: World, limit: str = "10", *, most: str | None = None, **fields: Any) -> Quota:
    """A daily quota that has carried over for ten days; so long the licence is there, too."""
    world.license.__class__.objects.filter(id=world.license.id).update(starts_at=BEGAN, created_at=BEGAN)
    world.plan.carried_by.update(created_at=BEGAN)
    fields.setdefault("carry_over_since", BEGAN)
    return world.quota(limit, carry_over=True, carry_over_limit=None if most is None else Decimal(most), **fields)


def consume(world: World, quantity: str, at: datetime, id: str | None = None) -> Verdict | None:
    request = world.request(quantity, kind=EventKind.CONSUME, at=at, **({"id": id} if id else {}))
    world.post(request)
    return request.verdict


def use(world: World, quantity: str, occurred_at: datetime, at: datetime) -> None:
    world.post(world.request(quantity, occurred_at=occurred_at, at=at))


def status(world: World, at: datetime) -> QuotaStatus:
    [[found]] = statuses_of([Asked(CallerQuotas(world.caller()), at)])
    return found


def carried(at: datetime) -> Decimal:
    return Balance.objects.get(period_start=at.replace(hour=0)).carried


def test_consume__first_period__has_nothing_carried() -> None:
    world = make_world()
    carrying(world, carry_over_since=NOW)

    assert (status(world, NOW).carried_over, status(world, NOW).remaining) == (0, 10)
    assert consume(world, "11", NOW) is Verdict.REFUSED


def test_consume__something_left__goes_into_the_next_period_up_to_the_most() -> None:
    world = make_world()
    carrying(world, most="5", carry_over_since=NOW)
    consume(world, "3", NOW)

    tomorrow = NOW + DAY
    assert (status(world, tomorrow).carried_over, status(world, tomorrow).remaining) == (5, 15)
    assert consume(world, "16", tomorrow) is Verdict.REFUSED
    assert consume(world, "15", tomorrow) is Verdict.DONE
    assert (status(world, tomorrow).carried_over, status(world, tomorrow).remaining) == (5, 0)


def test_consume__carried_of_carried__is_carried_on() -> None:
    world = make_world()
    carrying(world, carry_over_since=NOW)

    consume(world, "4", NOW)
    consume(world, "5", NOW + DAY)

    assert carried(NOW + DAY) == 6
    assert status(world, NOW + 2 * DAY).carried_over == 11


def test_consume__overdrawn_by_facts__carries_no_debt() -> None:
    world = make_world()
    carrying(world, carry_over_since=NOW)
    use(world, "25", NOW, NOW)

    assert status(world, NOW + DAY).carried_over == 0
    assert consume(world, "10", NOW + DAY) is Verdict.DONE


@pytest.mark.parametrize(("most", "expected"), [(None, 36), ("15", 15), ("7", 7)])
def test_consume__periods_skipped__carry_their_limits_on(most: str | None, expected: int) -> None:
    world = make_world()
    carrying(world, most=most, carry_over_since=NOW)
    consume(world, "4", NOW)

    later = NOW + 4 * DAY
    assert status(world, later).carried_over == expected
    consume(world, "1", later)
    assert carried(later) == expected


def test_usage__late_in_the_period_before__takes_from_what_was_carried() -> None:
    world = make_world()
    carrying(world, most="8", carry_over_since=NOW)
    consume(world, "1", NOW)
    tomorrow = NOW + DAY
    consume(world, "1", tomorrow)
    assert carried(tomorrow) == 8

    use(world, "3", NOW, tomorrow)
    assert carried(tomorrow) == 6
    assert (status(world, tomorrow).carried_over, status(world, tomorrow).remaining) == (6, 15)
    use(world, "20", NOW, tomorrow)

    assert carried(tomorrow) == 0
    assert consume(world, "10", tomorrow) is Verdict.REFUSED
    assert consume(world, "9", tomorrow) is Verdict.DONE


def test_usage__late_in_a_period_that_was_skipped__is_carried_through_all_between() -> None:
    world = make_world()
    carrying(world, carry_over_since=NOW)
    consume(world, "4", NOW)
    later = NOW + 4 * DAY
    consume(world, "1", later)
    assert carried(later) == 36

    use(world, "7", NOW + DAY, later)

    assert [carried(NOW + days * DAY) for days in (1, 2, 3, 4)] == [6, 9, 19, 29]


def test_usage__late_for_a_closed_period__counts_in_the_open_one_and_leaves_what_was_carried() -> None:
    world = make_world()
    carrying(world, carry_over_since=NOW)
    consume(world, "4", NOW)
    tomorrow = NOW + DAY
    consume(world, "1", tomorrow)
    close_periods(now=tomorrow, before=tomorrow)

    use(world, "3", NOW, tomorrow)

    assert (carried(tomorrow), status(world, tomorrow).used, status(world, tomorrow).remaining) == (6, 4, 12)


def test_consume__at_once_in_a_new_period__carry_over_once() -> None:
    world = make_world()
    carrying(world, carry_over_since=NOW)
    consume(world, "4", NOW)

    found = at_once([lambda: consume(world, "1", NOW + DAY) for _ in range(20)])

    assert sorted(str(each) for each in found) == ["done"] * 16 + ["refused"] * 4
    assert carried(NOW + DAY) == 6


def test_usage__on_both_sides_of_the_border_at_once__comes_to_the_same() -> None:
    world = make_world()
    carrying(world, "1000", carry_over_since=NOW)
    midnight = NOW.replace(hour=0) + DAY
    before, after = midnight - timedelta(microseconds=1), midnight
    calls = [lambda: use(world, "1", before, before) for _ in range(10)]
    calls += [lambda: use(world, "1", before, after) for _ in range(10)]
    calls += [lambda: use(world, "1", after, after) for _ in range(10)]
    random.Random(7).shuffle(calls)

    failed = [each for each in at_once(calls) if isinstance(each, Exception)]

    assert failed == []
    assert (Balance.objects.get(period_start=midnight).used, carried(midnight)) == (10, 980)


def test_usage__before_carrying_over_began_in_its_period__is_not_carried() -> None:
    world = make_world()
    world.post(world.request("6"))
    carrying(world, carry_over_since=NOW + HOUR)
    tomorrow = NOW + DAY

    assert status(world, NOW + HOUR).used == 6
    assert status(world, tomorrow).carried_over == 4
    assert consume(world, "15", tomorrow) is Verdict.REFUSED
    assert (carried(tomorrow) if consume(world, "14", tomorrow) is Verdict.DONE else None) == 4


def test_usage__first_one_is_late_in_the_period_in_which_carrying_over_began__takes_from_what_is_left() -> None:
    world = make_world()
    world.post(world.request("6"))
    carrying(world, carry_over_since=NOW + HOUR)

    use(world, "1", NOW + 2 * HOUR, NOW + DAY)

    assert (status(world, NOW + DAY).carried_over, carried(NOW + DAY)) == (3, 3)


def test_usage__both_periods_are_made_at_once__comes_to_the_same_every_time() -> None:
    # A period that is made finds none before it, and must not be overtaken by one that is made and used meanwhile.
    midnight = NOW.replace(hour=0) + DAY
    before = midnight - timedelta(microseconds=1)
    seen = []
    for _ in range(6):
        world = make_world()
        carrying(world, "1000", carry_over_since=NOW)
        calls = [lambda world=world: use(world, "1", before, before) for _ in range(10)]
        calls += [lambda world=world: use(world, "1", midnight, midnight) for _ in range(10)]
        assert [each for each in at_once(calls) if isinstance(each, Exception)] == []
        made = Balance.objects.for_tenant(world.tenant).get(period_start=midnight)
        seen.append((made.used, made.carried))

    assert set(seen) == {(Decimal(10), Decimal(990))}


def test_brought_over__as_a_loop_over_all_periods() -> None:
    draw = random.Random(11)
    for _ in range(300):
        limit, unused = Decimal(draw.randint(0, 20)), draw.randint(0, 6)
        most = None if draw.random() < 0.3 else Decimal(draw.randint(1, 40))
        before = None
        left = Decimal(0)
        if draw.random() < 0.7:
            used, given, burned = (Decimal(draw.randint(0, 30)) for _ in range(3))
            before, left = (used, given, burned), limit + given + burned - used
        for _ in range(unused):
            left = limit + carried_of(left, most)

        assert brought_over(limit=limit, most=most, before=before, unused=unused) == left
