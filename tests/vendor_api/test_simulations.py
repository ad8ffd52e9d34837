"""A proposed price over real usage."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from common.clock import real_clock
from metering.models import OverageRecord, Price
from tests.vendor_api.door import Door
from tests.vendor_api.shop import Shop

pytestmark = pytest.mark.django_db(transaction=True)


def last_month() -> str:
    first = real_clock().now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first - timedelta(hours=1)).isoformat()


@pytest.fixture
def payg(shop: Shop) -> Shop:
    """Three licences that used 4, 5 and 6 units last month, at 0.50 each above 1."""
    plan = {
        "code": "payg",
        "name": "Pay as you go",
        "product": "researcher",
        "quotas": [{"meter": "tokens", "limit": "1", "period": "month", "mode": "soft"}],
        "prices": [{"meter": "tokens", "currency": "USD", "model": "per_unit", "unit_price": "0.5"}],
    }
    shop.door.made("/plans", plan)
    for quantity in (4, 5, 6):
        body = {"customer": {"external_id": f"c-{quantity}"}, "plan": "payg", "starts_at": "2026-01-01T00:00:00Z"}
        license = shop.door.made("/licenses", body)["license"]["id"]
        event = {"id": "job", "meter": "tokens", "quantity": quantity, "license": license}
        assert shop.door.post("/usage", event | {"occurred_at": last_month()}).status == 200
    return shop


def simulated(shop: Shop, price: dict[str, Any], **more: Any) -> Any:
    return shop.door.post("/prices/simulate", {"plan": "payg", "price": {"meter": "tokens", **price}, **more})


def test_simulate__proposed_price__beside_the_present_one_and_nothing_is_written(payg: Shop) -> None:
    answer = simulated(payg, {"model": "package", "package_size": "2", "package_price": "3"})

    lines = sorted((row["used"], row["quantity"], row["present"], row["proposed"]) for row in answer["data"])
    assert lines == [("4", "3", "1.50", "6.00"), ("5", "4", "2.00", "6.00"), ("6", "5", "2.50", "9.00")]
    assert answer["totals"] == [{"currency": "USD", "present": "6.00", "proposed": "21.00", "difference": "15.00"}]
    assert answer["next_cursor"] is None
    assert (OverageRecord.objects.count(), Price.objects.filter(plan__code="payg").count()) == (0, 1)


def test_simulate__pages__have_each_license_once(payg: Shop) -> None:
    price = {"model": "per_unit", "unit_price": "1"}
    first = simulated(payg, price, limit=2)
    second = simulated(payg, price, limit=2, cursor=first["next_cursor"])

    assert (len(first["data"]), len(second["data"]), second["next_cursor"]) == (2, 1, None)
    assert sorted(row["used"] for row in [*first["data"], *second["data"]]) == ["4", "5", "6"]


def test_simulate__one_customer_or_license__is_narrowed(payg: Shop) -> None:
    price = {"model": "per_unit", "unit_price": "1"}
    [row] = simulated(payg, price, customer="c-5")["data"]
    [same] = simulated(payg, price, license=row["license"])["data"]

    assert (row["used"], row["proposed"], same) == ("5", "4.00", row)
    assert simulated(payg, price, period_start=real_clock().now().isoformat())["data"] == []


def test_simulate__no_present_price__is_null(payg: Shop) -> None:
    assert payg.door.patch("/plans/payg", {"prices": []}).status == 200
    Price.objects.update(archived_at=real_clock().now() - timedelta(days=300))

    rows = simulated(payg, {"model": "per_unit", "unit_price": "1", "currency": "EUR"})

    assert {row["present"] for row in rows["data"]} == {None}
    assert rows["totals"] == [{"currency": "EUR", "present": "0.00", "proposed": "12.00", "difference": "12.00"}]


def test_simulate__what_makes_no_sense__is_refused(payg: Shop) -> None:
    fine = {"model": "per_unit", "unit_price": "1"}
    stranger = Shop(Door())
    assert simulated(payg, {"model": "odd"}).status == 422
    assert simulated(payg, fine, cursor="nonsense").fields == {"cursor": "invalid"}
    assert simulated(payg, fine, limit=1001).status == 422
    assert payg.door.post("/prices/simulate", {"plan": "nonsense", "price": {"meter": "tokens", **fine}}).status == 404
    assert simulated(payg, fine, license=stranger.license["id"])["data"] == []


def test_simulate__wrong_price__is_named_where_it_stands_in_the_body(payg: Shop) -> None:
    answer = simulated(payg, {"model": "per_unit"})
    assert (answer.status, answer.fields) == (422, {"price.unit_price": "required"})
    assert answer["detail"] == "price.unit_price: A per_unit price needs it."
