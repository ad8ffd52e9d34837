"""Usage and overages that are put right, through the door."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any

import pytest

from common.clock import real_clock
from metering.models import OverageRecord, UsageEvent
from metering.services.closing import close_periods
from metering.services.overage import accrue_overage
from metering.services.rollups import roll_up_usage
from tests.vendor_api.door import Door
from tests.vendor_api.shop import Shop

pytestmark = pytest.mark.django_db(transaction=True)


def used(shop: Shop) -> str:
    [row] = shop.door.listed("/quotas", license=shop.license["id"])
    return str(row["used"])


def recorded(shop: Shop, id: str, quantity: str, **more: Any) -> str:
    body = {"id": id, "meter": "tokens", "quantity": quantity, "agent": shop.agent["id"], **more}
    answer = shop.door.post("/usage", body)
    assert answer.status == 200, answer
    return str(answer["results"][0]["event_id"])


def billed(shop: Shop, quantity: str, unit_price: str = "0.5") -> dict[str, Any]:
    """A final overage of last month, by a plan that charges each unit."""
    plan = {
        "code": "payg",
        "name": "Pay as you go",
        "product": "researcher",
        "quotas": [{"meter": "tokens", "limit": "0", "period": "month", "mode": "soft"}],
        "prices": [{"meter": "tokens", "currency": "USD", "model": "per_unit", "unit_price": unit_price}],
    }
    shop.door.made("/plans", plan)
    now = real_clock().now()
    last_month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    license = shop.door.made(
        "/licenses", {"customer": "acme", "plan": "payg", "starts_at": (now - timedelta(days=300)).isoformat()}
    )["license"]
    body = {"id": "job-1", "meter": "tokens", "quantity": quantity, "license": license["id"]}
    assert shop.door.post("/usage", body | {"occurred_at": last_month.astimezone(UTC).isoformat()})["recorded"] == 1
    close_periods(now=now, before=now.replace(day=1, hour=0, minute=0, second=0, microsecond=0))
    [overage] = shop.door.listed("/overages", license=license["id"])
    assert overage["status"] == "finalized"
    return dict(overage)


def test_void__by_event_id__answers_the_event_and_frees_the_quota(shop: Shop) -> None:
    event_id = recorded(shop, "call-1", "1532", dimensions={"model": "large"})
    recorded(shop, "call-2", "8")

    answer = shop.door.post(f"/usage/{event_id}/void", {"reason": "test run"})
    again = shop.door.post(f"/usage/{event_id}/void")

    assert answer.status == 200
    assert (answer["id"], answer["client_id"], answer["status"]) == (event_id, "call-1", "voided")
    assert (answer["quantity"], answer["dimensions"]) == ("1532", {"model": "large"})
    [pair] = answer["reversed"]
    assert (pair["id"], pair["meter"], pair["quantity"]) == (event_id, "tokens", "1532")
    assert again.json == answer.json
    assert used(shop) == "8"


@pytest.mark.parametrize("path", ["/usage/call-1/void", "/usage/void"])
def test_void__by_the_callers_id__is_the_same(shop: Shop, path: str) -> None:
    event_id = recorded(shop, "call-1", "5")

    answer = shop.door.post(path, {"id": "call-1"} if path == "/usage/void" else {})

    assert (answer.status, answer["id"], used(shop)) == (200, event_id, "0")


def test_void__id_that_two_licenses_share__is_409_until_one_is_named(shop: Shop) -> None:
    other = shop.door.made("/licenses", {"customer": "acme", "plan": "pro"})["license"]["id"]
    recorded(shop, "call 1/2", "5")
    assert (
        shop.door.post("/usage", {"id": "call 1/2", "meter": "tokens", "quantity": 3, "license": other}).status == 200
    )

    refused = shop.door.post("/usage/void", {"id": "call 1/2"})
    foreign = shop.door.post("/usage/void", {"id": "call 1/2", "license": Shop(Door()).license["id"]})
    answer = shop.door.post("/usage/void", {"id": "call 1/2", "license": other})

    assert (refused.status, refused.code) == (409, "id_ambiguous")
    assert sorted(refused["licenses"]) == sorted([other, shop.license["id"]])
    assert foreign.status == 404
    assert (answer["license"], answer["quantity"]) == (other, "3")
    assert used(shop) == "5"


def test_void__void_itself__is_409(shop: Shop) -> None:
    event_id = recorded(shop, "call-1", "5")
    void_id = shop.door.post(f"/usage/{event_id}/void")["reversed"][0]["void_id"]

    refused = shop.door.post(f"/usage/{void_id}/void")

    assert (refused.status, refused.code) == (409, "event_is_correction")
    assert UsageEvent.objects.for_tenant(shop.door.tenant).count() == 2


def test_void__usage_of_a_final_bill__shows_as_a_credit(shop: Shop) -> None:
    final = billed(shop, "7")

    assert shop.door.post("/usage/job-1/void", {"reason": "refund"}).status == 200

    credit, unchanged = shop.door.listed("/overages", license=final["on"]["license"])
    assert unchanged == final
    assert (credit["status"], credit["corrects"], credit["amount"]) == ("credit", final["id"], "-3.50")
    assert (credit["quantity"], credit["used"], credit["status_reason"]) == ("-7", "0", "refund")


def test_void_overage__final_one__is_waived_once(shop: Shop) -> None:
    final = billed(shop, "7")
    shop.door.post("/usage/void", {"id": "job-1"})

    answer = shop.door.post(f"/overages/{final['id']}/void", {"reason": "goodwill"})
    again = shop.door.post(f"/overages/{final['id']}/void", {"reason": "twice"})

    assert (answer.status, answer["status"], answer["status_reason"]) == (200, "voided", "goodwill")
    assert (answer["amount"], again.json) == (final["amount"], answer.json)
    assert {row["status"] for row in shop.door.listed("/overages")} == {"voided"}


def test_void_overage__correction__is_409(shop: Shop) -> None:
    final = billed(shop, "7")
    shop.door.post("/usage/void", {"id": "job-1"})
    credit = OverageRecord.objects.get(status="credit")

    refused = shop.door.post(f"/overages/{credit.public_id}/void")

    assert (refused.status, refused.code) == (409, "overage_is_correction")
    assert shop.door.get(f"/overages/{final['id']}")["status"] == "finalized"


def test_void_overage__open_one__does_not_come_back(shop: Shop) -> None:
    recorded(shop, "call-1", "1000500")
    roll_up_usage()
    accrue_overage()
    [overage] = shop.door.listed("/overages")

    assert shop.door.post(f"/overages/{overage['id']}/void").status == 200
    recorded(shop, "call-2", "1000500")
    roll_up_usage()
    accrue_overage(everything=True)

    assert [row["status"] for row in shop.door.listed("/overages")] == ["voided"]


def test_rerate__price_was_wrong__dry_run_then_a_record_of_the_difference(shop: Shop) -> None:
    final = billed(shop, "7", "0.5")
    right = [{"meter": "tokens", "currency": "USD", "model": "per_unit", "unit_price": "0.05"}]
    assert shop.door.patch("/plans/payg", {"prices": right}).status == 200
    path = f"/overages/{final['id']}/rerate"

    tried = shop.door.post(path, {"dry_run": True})
    assert len(shop.door.listed("/overages")) == 1
    done = shop.door.post(path, {"reason": "a zero was missing"})
    again = shop.door.post(path)

    assert (tried["before"]["amount"], tried["after"]["amount"]) == ("3.50", "0.35")
    assert (tried["dry_run"], done["dry_run"]) == (True, False)
    assert done["overage"] == final
    assert (done["correction"]["amount"], done["correction"]["quantity"]) == ("-3.15", "0")
    assert again["correction"] is None
    assert len(shop.door.listed("/overages")) == 2


def test_rerate__price_was_too_low__is_a_further_charge(shop: Shop) -> None:
    final = billed(shop, "7", "0.5")
    right = [{"meter": "tokens", "currency": "USD", "model": "per_unit", "unit_price": "1"}]
    shop.door.patch("/plans/payg", {"prices": right})

    assert shop.door.post(f"/overages/{final['id']}/rerate")["correction"]["amount"] == "3.50"


def test_rerate__open_or_in_another_currency__is_409(shop: Shop) -> None:
    final = billed(shop, "7", "0.5")
    other = [{"meter": "tokens", "currency": "EUR", "model": "per_unit", "unit_price": "1"}]
    shop.door.patch("/plans/payg", {"prices": other})
    recorded(shop, "call-1", "1000500")
    roll_up_usage()
    accrue_overage()
    [opened] = shop.door.listed("/overages", status="open")

    answers = [shop.door.post(f"/overages/{each['id']}/rerate") for each in (final, opened)]

    assert [(each.status, each.code) for each in answers] == [(409, "currency_changed"), (409, "overage_not_final")]
    shop.door.patch("/plans/payg", {"prices": []})


def adjusted(shop: Shop, id: str, corrects: str, quantity: str, **more: Any) -> Any:
    return shop.door.post("/usage", {"id": id, "meter": "tokens", "corrects": corrects, "quantity": quantity, **more})


def test_adjust__by_less_and_more__counts_the_difference_once(shop: Shop) -> None:
    event_id = recorded(shop, "call-1", "10", dimensions={"model": "large"})

    less = adjusted(shop, "fix-1", "call-1", "-4")
    again = adjusted(shop, "fix-1", event_id, "-4.0")
    other = adjusted(shop, "fix-1", "call-1", "-5")
    more = adjusted(shop, "fix-2", event_id, "1.5", license=shop.license["id"])

    assert (less.status, less["recorded"], again["duplicates"], more["recorded"]) == (200, 1, 1, 1)
    assert (other.status, other.code) == (409, "id_conflict")
    assert used(shop) == "7.5"
    events = UsageEvent.objects.for_tenant(shop.door.tenant).order_by("id")
    assert [(each.kind, str(each.quantity.normalize()), each.dimensions) for each in events] == [
        ("usage", "1E+1", {"model": "large"}),
        ("adjust", "-4", {"model": "large"}),
        ("adjust", "1.5", {"model": "large"}),
    ]


def test_adjust__then_void__takes_back_what_was_left(shop: Shop) -> None:
    recorded(shop, "call-1", "10")
    adjusted(shop, "fix-1", "call-1", "-4")

    voided = shop.door.post("/usage/call-1/void")

    assert (voided["reversed"][0]["quantity"], used(shop)) == ("6", "0")
    assert adjusted(shop, "fix-2", "call-1", "1").code == "event_voided"
    assert adjusted(shop, "fix-1", "call-1", "-4")["duplicates"] == 1


def test_adjust__what_makes_no_sense__is_refused_and_counts_nothing(shop: Shop) -> None:
    recorded(shop, "call-1", "10")
    shop.door.made("/meters", {"code": "calls", "name": "Calls", "unit": "call", "aggregation": "count"})
    shop.door.post("/usage", {"id": "count-1", "meter": "calls", "agent": shop.agent["id"]})
    adjusted(shop, "fix-1", "call-1", "-4")

    answers = [
        adjusted(shop, "bad-1", "call-1", "-6.1"),
        adjusted(shop, "bad-2", "nothing", "-1"),
        adjusted(shop, "bad-3", "fix-1", "-1"),
        shop.door.post("/usage", {"id": "bad-4", "meter": "calls", "corrects": "count-1", "quantity": "-1"}),
        adjusted(shop, "bad-5", "count-1", "-1"),
        adjusted(shop, "bad-6", "call-1", "-1", dimensions={"model": "small"}),
        shop.door.post("/usage", {"id": "bad-7", "meter": "tokens", "corrects": "call-1"}),
        adjusted(shop, "bad-8", "call-1", "-1", license="nonsense"),
        shop.door.post("/usage", {"id": "bad-9", "meter": "tokens", "quantity": "-1", "agent": shop.agent["id"]}),
    ]

    assert [(each.status, each.code) for each in answers] == [
        (422, "below_zero"),
        (422, "unknown_event"),
        (422, "event_is_correction"),
        (422, "aggregation_unsupported"),
        (422, "event_invalid"),
        (422, "event_invalid"),
        (422, "quantity_required"),
        (422, "unknown_license"),
        (422, "quantity_negative"),
    ]
    assert used(shop) == "6"


def test_adjust__final_bill__gets_the_difference_either_way(shop: Shop) -> None:
    final = billed(shop, "7")

    adjusted(shop, "fix-1", "job-1", "-2", license=final["on"]["license"])
    adjusted(shop, "fix-2", "job-1", "5", license=final["on"]["license"])

    rows = shop.door.listed("/overages", license=final["on"]["license"])
    assert [(row["status"], row["amount"]) for row in rows] == [
        ("credit", "2.50"),
        ("credit", "-1.00"),
        ("finalized", "3.50"),
    ]


def test_statement__issued_and_read_back__is_the_same_in_each_form(shop: Shop) -> None:
    final = billed(shop, "7")
    draft = shop.door.get("/customers/acme/statement", period_start=final["period_start"])
    body = {"customer": "acme", "period_start": final["period_start"]}
    month = {"period_start": final["period_start"]}
    drafts = [
        shop.door.call("GET", "/customers/acme/statement", query=month | {"format": "csv"}),
        shop.door.call("GET", "/customers/acme/statement", query=month | {"format": "html"}),
        shop.door.call("GET", "/customers/acme/statement", query=month, Accept="text/csv"),
    ]

    issued = shop.door.post("/statements", body)
    again = shop.door.post("/statements", body)

    assert (draft["status"], draft["totals"][0]["total"]) == ("draft", "3.50")
    assert drafts[0].json.startswith("statement,status,customer,")
    assert ",draft,acme," in drafts[0].json
    assert "draft" in drafts[1].json.lower()
    assert drafts[1].headers["Content-Disposition"] == 'attachment; filename="statement-draft.html"'
    assert drafts[2].json == drafts[0].json
    assert (issued.status, issued["number"], issued["totals"][0]["total"]) == (201, 1, "3.50")
    path = f"/statements/{issued['id']}"
    assert again.json == shop.door.get(path).json == issued.json
    assert shop.door.get("/customers/acme/statement", period_start=final["period_start"]).json == issued.json
    assert shop.door.get(f"{path}/csv").json.startswith("statement,status,customer,")
    assert "statement 1" in shop.door.get(f"{path}/html").json
    for form in ("csv", "html"):
        of_month = shop.door.get("/customers/acme/statement", period_start=final["period_start"], format=form)
        assert of_month.json == shop.door.get(f"{path}/{form}").json
    [row] = shop.door.listed("/statements", customer="acme")
    assert (row["id"], row["number"], row["totals"]) == (issued["id"], 1, issued["totals"])
    assert shop.door.listed("/statements", customer="other") == []
    far = shop.door.post("/statements", body | {"period_start": "9950-01-01T00:00:00Z"})
    assert (far.status, list(far.fields)) == (422, ["period_start"])
    running = shop.door.post("/statements", body | {"period_start": real_clock().now().isoformat()})
    assert (running.status, running.code) == (409, "period_not_over")
    assert shop.door.get(f"{PATH_OF_NOBODY}/csv").status == 404


PATH_OF_NOBODY = "/statements/stm_" + "0" * 26
