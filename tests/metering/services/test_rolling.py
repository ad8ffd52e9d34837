"""Rolling windows: never more than the limit in any stretch of their length, whoever asks at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from metering.domain.enums import EventKind, Period
from metering.domain.quota_keys import quota_key
from metering.domain.requests import Verdict
from metering.models import Balance, Quota
from metering.selectors.quota_statuses import Asked, CallerQuotas, QuotaStatus, statuses_of
from metering.services.closing import close_periods
from metering.services.quotas import archive_quota, create_quota
from metering.services.verification import verify_ledger
from tenants.models import OutboxEvent
from tests.factories import ACTOR
from tests.metering.ledger_world import NOW, World, make_world
from tests.parallel import at_once

pytestmark = pytest.mark.django_db(transaction=True)

HOUR, MINUTE, MICRO = timedelta(hours=1), timedelta(minutes=1), timedelta(microseconds=1)


def rolling(world: World, limit: str, *, seconds: int = 3600, thresholds: tuple[int, ...] = ()) -> Quota:
    key = quota_key(
        tenant_id=world.tenant.id,
        plan_id=None,
        scope="license",
        meter_id=world.meter.id,
        filter={},
        period=Period.ROLLING,
        rolling_seconds=seconds,
    )
    return Quota.objects.create(
        tenant=world.tenant,
        meter=world.meter,
        scope="license",
        license=world.license,
        key=key,
        limit=Decimal(limit),
        mode="hard",
        period=Period.ROLLING,
        rolling_seconds=seconds,
        thresholds=list(thresholds),
    )


def consume(world: World, quantity: str, at: datetime) -> Verdict | None:
    request = world.request(quantity, kind=EventKind.CONSUME, at=at)
    world.post(request)
    return request.verdict


def status(world: World, at: datetime) -> QuotaStatus:
    [[found]] = statuses_of([Asked(CallerQuotas(world.caller()), at)])
    return found


def test_consume__window_is_full__is_refused_until_the_oldest_has_left_it() -> None:
    world = make_world()
    rolling(world, "10")
    assert consume(world, "6", NOW) is Verdict.DONE
    assert consume(world, "4", NOW + 30 * MINUTE) is Verdict.DONE

    found = status(world, NOW + 30 * MINUTE)
    assert (found.used, found.remaining, found.state) == (10, 0, "exceeded")
    # The sub-bucket of 09:00 is over at 09:01, and an hour after that.
    assert found.resets_at == NOW + HOUR + MINUTE
    assert consume(world, "1", NOW + HOUR + MINUTE - MICRO) is Verdict.REFUSED
    assert consume(world, "6", NOW + HOUR + MINUTE) is Verdict.DONE
    assert consume(world, "1", NOW + HOUR + MINUTE) is Verdict.REFUSED
    assert status(world, NOW + HOUR + MINUTE).resets_at == NOW + HOUR + 31 * MINUTE


def test_refusal__rolling_window__says_what_the_window_has_used() -> None:
    world = make_world()
    rolling(world, "10")
    consume(world, "6", NOW)
    request = world.request("5", kind=EventKind.CONSUME, at=NOW + MINUTE)

    world.post(request)

    [refusal] = request.refusals
    assert (refusal.standing.used, refusal.standing.held, refusal.standing.resets_at) == (6, 0, NOW + HOUR + MINUTE)


def test_consume__many_at_once_over_several_sub_buckets__never_pass_the_limit() -> None:
    world = make_world()
    rolling(world, "10")

    found = at_once([lambda place=place: consume(world, "1", NOW + (place % 5) * MINUTE) for place in range(25)])

    assert sorted(str(each) for each in found) == ["done"] * 10 + ["refused"] * 15
    assert sum(Balance.objects.values_list("used", flat=True)) == 10


def test_usage__facts__count_beyond_the_limit_and_block_until_they_have_left() -> None:
    world = make_world()
    rolling(world, "10")

    world.post(world.request("25", at=NOW))

    assert status(world, NOW).state == "exceeded"
    assert consume(world, "1", NOW + 59 * MINUTE) is Verdict.REFUSED
    assert consume(world, "1", NOW + HOUR + MINUTE) is Verdict.DONE


def test_usage__two_sub_buckets_in_one_batch__later_ones_see_earlier_ones() -> None:
    world = make_world()
    rolling(world, "10")
    caller = world.caller()
    requests = [
        world.request(quantity, caller=caller, kind=EventKind.CONSUME, at=NOW + minutes * MINUTE)
        for quantity, minutes in (("6", 0), ("5", 1), ("4", 2), ("1", 3))
    ]

    world.post(*requests)

    assert [each.verdict for each in requests] == [Verdict.DONE, Verdict.REFUSED, Verdict.DONE, Verdict.REFUSED]


def test_hold__open_longer_than_the_window__counts_as_long_as_it_is_open() -> None:
    world = make_world()
    rolling(world, "10", seconds=60)
    hold = world.request("8", kind=EventKind.HOLD, at=NOW)
    world.post(hold)

    assert consume(world, "3", NOW + 10 * MINUTE) is Verdict.REFUSED
    assert consume(world, "2", NOW + 10 * MINUTE) is Verdict.DONE
    assert (status(world, NOW + 10 * MINUTE).held, status(world, NOW + 10 * MINUTE).used) == (8, 2)


def test_quota__new_in_the_middle_of_use__counts_what_the_window_has_seen() -> None:
    world = make_world()
    for minutes in (0, 20, 40):
        world.post(world.request("3", at=NOW + minutes * MINUTE))
    rolling(world, "10")

    later = NOW + 50 * MINUTE
    assert status(world, later).used == 9
    assert consume(world, "2", later) is Verdict.REFUSED
    assert consume(world, "1", later) is Verdict.DONE
    assert status(world, later).used == 10
    assert consume(world, "3", NOW + HOUR + MINUTE) is Verdict.DONE
    assert consume(world, "1", NOW + HOUR + MINUTE) is Verdict.REFUSED


def test_quota__new_and_the_first_event_is_late__counts_what_the_window_has_seen() -> None:
    world = make_world()
    for minutes in (0, 10, 20, 25):
        world.post(world.request("5", at=NOW + minutes * MINUTE))
    rolling(world, "22")

    world.post(world.request("1", occurred_at=NOW + 12 * MINUTE, at=NOW + 30 * MINUTE))

    assert status(world, NOW + 30 * MINUTE).used == 21
    assert consume(world, "2", NOW + 30 * MINUTE) is Verdict.REFUSED
    assert consume(world, "1", NOW + 30 * MINUTE) is Verdict.DONE


@pytest.mark.parametrize("pause", [2 * HOUR, MINUTE])
def test_quota__applies_again_with_sub_buckets_closed__counts_what_it_has_missed(pause: timedelta) -> None:
    world = make_world()

    def daily() -> Quota:
        return create_quota(
            tenant=world.tenant,
            actor=ACTOR,
            on={"license": world.license.id},
            meter=world.meter,
            limit="20",
            period={"rolling": 86400},
        )

    quota = daily()
    consume(world, "5", NOW)
    consume(world, "5", NOW + 2 * HOUR)
    close_periods(before=NOW + HOUR, now=NOW + 2 * HOUR)
    archive_quota(tenant=world.tenant, quota_id=quota.id, actor=ACTOR)
    missed = NOW + 2 * HOUR + pause
    consume(world, "5", missed)
    daily()

    again = missed + pause
    assert status(world, again).used == 15
    assert consume(world, "5", again) is Verdict.DONE
    assert status(world, again).used == 20
    assert consume(world, "1", again) is Verdict.REFUSED


def test_thresholds__crossed_again_within_the_window__are_told_once() -> None:
    world = make_world()
    rolling(world, "10", thresholds=(80,))

    consume(world, "8", NOW)
    consume(world, "1", NOW + 5 * MINUTE)
    consume(world, "1", NOW + 10 * MINUTE)
    consume(world, "9", NOW + 3 * HOUR)

    types = list(OutboxEvent.objects.filter(type__startswith="quota.").order_by("id").values_list("type", flat=True))
    assert types == ["quota.threshold_reached", "quota.exceeded", "quota.threshold_reached"]


def test_retry__when_the_window_is_full__is_never_refused() -> None:
    world = make_world()
    rolling(world, "10")
    first = world.request("10", kind=EventKind.CONSUME, at=NOW, id="step")
    world.post(first)

    again = world.request("10", kind=EventKind.CONSUME, at=NOW, id="step")
    world.post(again)

    assert again.verdict is Verdict.REPLAYED


def test_close_periods__sub_buckets_that_left_the_window__are_closed_and_removed() -> None:
    world = make_world()
    rolling(world, "100")
    for minutes in (0, 1, 2):
        world.post(world.request("1", at=NOW + minutes * MINUTE))
    assert verify_ledger().differences == ()

    close_periods(now=NOW + 30 * MINUTE, before=NOW + 30 * MINUTE)
    assert Balance.objects.filter(closed_at__isnull=False).count() == 3
    assert status(world, NOW + 30 * MINUTE).used == 3
    close_periods(now=NOW + HOUR + 2 * MINUTE, before=NOW + HOUR + 2 * MINUTE, tenant=world.tenant)

    assert list(Balance.objects.values_list("period_start", flat=True)) == [NOW + 2 * MINUTE]
    assert status(world, NOW + HOUR + 2 * MINUTE).used == 1
    assert verify_ledger().differences == ()
