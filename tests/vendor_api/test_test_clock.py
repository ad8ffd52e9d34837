"""A test workspace's clock: a month rehearsed in one sitting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from common.clock import real_clock, rfc3339
from metering.models import Balance, OverageRecord, Statement
from tenants.models import OutboxEvent, Tenant
from tests.factories import make_test_workspace
from tests.trail import actions, epoch
from tests.vendor_api.door import Door
from tests.vendor_api.shop import Shop

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def rehearsal() -> Shop:
    """One of each thing, in a test workspace."""
    return Shop(Door(make_test_workspace()))


def clock(shop: Shop) -> datetime:
    return datetime.fromisoformat(shop.door.get("/test-clock")["now"])


def move(shop: Shop, to: datetime) -> Any:
    answer = shop.door.post("/test-clock", {"now": rfc3339(to)})
    assert answer.status == 200, answer
    return answer["happened"]


def month_after(at: datetime) -> datetime:
    return (at.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)


def use(shop: Shop, id: str, quantity: str) -> None:
    answer = shop.door.post("/usage", {"id": id, "meter": "tokens", "quantity": quantity, "agent": shop.agent["id"]})
    assert (answer.status, answer["recorded"]) == (200, 1), answer


def test_clock__of_a_live_workspace__is_real_time_and_stays(shop: Shop) -> None:
    before = real_clock().now()
    shown = shop.door.get("/test-clock").json
    refused = shop.door.post("/test-clock", {"now": rfc3339(before + DAY)})

    assert (shown["mode"], shown["ahead_seconds"], shown["happened"], shown["job"]) == ("live", 0, None, None)
    assert before <= datetime.fromisoformat(shown["now"]) <= real_clock().now()
    assert (refused.status, refused.code) == (403, "not_a_test_workspace")
    assert Tenant.objects.get(pk=shop.door.tenant.pk).clock_offset is None
    assert "tenant.clock_moved" not in actions(shop.door.tenant)


def test_clock__backwards_or_out_of_reach__is_refused_and_stays(rehearsal: Shop) -> None:
    now = real_clock().now()
    move(rehearsal, now + DAY)
    moved = Tenant.objects.get(pk=rehearsal.door.tenant.pk).clock_offset

    back = rehearsal.door.post("/test-clock", {"now": rfc3339(now + DAY)})
    far = rehearsal.door.post("/test-clock", {"now": rfc3339(now + 3661 * DAY)})

    assert (back.status, back.fields) == (422, {"now": "clock_goes_forward"})
    assert (far.status, far.fields) == (422, {"now": "too_far_ahead"})
    for beyond in ("9000-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-05:00"):
        answer = rehearsal.door.post("/test-clock", {"now": beyond})
        assert (answer.status, answer.fields) == (422, {"now": "too_far_ahead"})
        assert f"3660 days ahead of real time: after {(now + DAY).year}-" in answer["detail"]
        assert f"up to {(now + 3660 * DAY).date()}T" in answer["detail"]
    for past in ("0001-01-01T00:00:00+05:00", "1850-01-01T00:00:00Z"):
        assert rehearsal.door.post("/test-clock", {"now": past}).fields == {"now": "clock_goes_forward"}
    assert Tenant.objects.get(pk=rehearsal.door.tenant.pk).clock_offset == moved
    assert actions(rehearsal.door.tenant, "tenant.") == ["tenant.created", "tenant.clock_moved"]


def test_clock__moved__is_audited_and_felt_through_the_epoch(rehearsal: Shop) -> None:
    before = epoch(rehearsal.door.tenant, rehearsal.door.tenant.id)

    happened = move(rehearsal, real_clock().now() + HOUR)

    assert happened == {
        "stops": 1,
        "periods_closed": 0,
        "overages_finalized": 0,
        "statements_issued": 0,
        "holds_expired": 0,
        "activations_lapsed": 0,
        "expiries_announced": 0,
        "licenses_expired": 0,
        "agents_archived": 0,
    }
    assert epoch(rehearsal.door.tenant, rehearsal.door.tenant.id) == before + 1
    assert timedelta(minutes=59) < clock(rehearsal) - real_clock().now() < HOUR


def test_clock__a_month_day_by_day__ends_with_its_bill(rehearsal: Shop) -> None:
    start = month_after(clock(rehearsal))
    move(rehearsal, start)
    for day in range(28):
        use(rehearsal, f"day-{day}", "50000")
        move(rehearsal, start + (day + 1) * DAY)
    end = month_after(start)

    before_grace = move(rehearsal, end + HOUR - timedelta(minutes=1))
    at_grace = move(rehearsal, end + HOUR)

    assert (before_grace["periods_closed"], at_grace["periods_closed"], at_grace["overages_finalized"]) == (0, 1, 1)
    [bill] = rehearsal.door.listed("/overages")
    assert {name: bill[name] for name in ("status", "used", "quantity", "amount", "period_start", "finalized_at")} == {
        "status": "finalized",
        "used": "1400000",
        "quantity": "400000",
        "amount": "0.80",
        "period_start": rfc3339(start),
        "finalized_at": rfc3339(end + HOUR),
    }
    assert OutboxEvent.objects.filter(type="overage.finalized", subject=bill["id"]).count() == 1
    assert (before_grace["statements_issued"], at_grace["statements_issued"]) == (0, 1)


def test_clock__jump_over_several_periods__each_closes_with_its_own_overage(rehearsal: Shop) -> None:
    first = month_after(clock(rehearsal))
    months = [first]
    while len(months) < 4:
        months.append(month_after(months[-1]))
    # Late for none: each month's usage is sent in it.
    for number, month in enumerate(months[:3]):
        move(rehearsal, month + DAY)
        use(rehearsal, f"month-{number}", f"{1_500_000 + number}")

    happened = move(rehearsal, months[3] + 40 * DAY)

    issued = Statement.objects.order_by("period_start").values_list("period_start", "issued_at")
    assert happened["statements_issued"] == 1  # the first two were issued by the moves before
    assert [(start, at.replace(microsecond=0, second=0)) for start, at in issued] == [
        (month, month_after(month) + HOUR) for month in months[:3]
    ]
    assert list(
        OverageRecord.objects.order_by("period_start").values_list("period_start", "used", "status", "finalized_at")
    ) == [
        (month, Decimal(1_500_000 + number), "finalized", following + HOUR)
        for number, (month, following) in enumerate(pairwise(months))
    ]
    assert not Balance.objects.filter(closed_at__isnull=True, period_end__lte=months[3]).exists()


def test_clock__jump_past_everything__all_notices_in_their_order(rehearsal: Shop) -> None:
    door = rehearsal.door
    door.patch(f"/plans/{rehearsal.plan['id']}", {"expiry_notices": [30, 7]})
    expires = datetime.fromisoformat(rehearsal.license["expires_at"])
    OutboxEvent.objects.all().delete()

    happened = move(rehearsal, expires + DAY)

    told = list(OutboxEvent.objects.order_by("id").values_list("type", "data"))
    assert [(type, data.get("days")) for type, data in told] == [
        ("license.expiring", 30),
        ("license.expiring", 7),
        ("license.expired", None),
    ]
    assert (happened["expiries_announced"], happened["licenses_expired"], happened["stops"]) == (2, 1, 4)


def test_clock__more_stops_than_a_call_makes__a_job_goes_on(rehearsal: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from metering.services.running_jobs import run_job

    monkeypatch.setattr("vendor_api.views.test_clock.STOPS_IN_CALL", 1)
    door = rehearsal.door
    door.patch(f"/plans/{rehearsal.plan['id']}", {"expiry_notices": [30, 7]})
    expires = datetime.fromisoformat(rehearsal.license["expires_at"])

    answer = door.post("/test-clock", {"now": rfc3339(expires)})

    assert (answer.status, answer["happened"]["expiries_announced"]) == (202, 1)
    assert datetime.fromisoformat(answer["now"]) < expires - 29 * DAY
    assert run_job()
    job = door.get(f"/jobs/{answer['job']}").json
    assert (job["kind"], job["status"]) == ("test_clock.move", "succeeded")
    assert (job["result"]["expiries_announced"], job["result"]["licenses_expired"]) == (1, 1)
    assert clock(rehearsal) >= expires


def test_clock__key_repeated__moves_once(rehearsal: Shop) -> None:
    body = {"now": rfc3339(datetime.now(UTC) + DAY)}
    first = rehearsal.door.post("/test-clock", body, Idempotency_Key="a")
    again = rehearsal.door.post("/test-clock", body, Idempotency_Key="a")

    assert (first.status, again.status, again.json) == (200, 200, first.json)
    assert actions(rehearsal.door.tenant, "tenant.clock_moved") == ["tenant.clock_moved"]
