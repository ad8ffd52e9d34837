"""Budgets in money at the agents' door: check, consume, hold, settle and usage, and what is told of them."""

from __future__ import annotations

import pytest

from metering.models import UsageEvent
from tests.agent_door import AgentDoor, Answer, Vendor

pytestmark = pytest.mark.django_db


@pytest.fixture
def vendor() -> Vendor:
    vendor = Vendor()
    vendor.meter("in", dimensions=["model"])
    vendor.meter("out", dimensions=["model"])
    vendor.meter(
        "spend",
        unit="USD",
        rate_card=[
            {"meter": "in", "unit_price": "0.001"},
            {"meter": "out", "unit_price": "0.01", "dimensions": {"model": "large"}},
        ],
    )
    return vendor


@pytest.fixture
def door(vendor: Vendor) -> AgentDoor:
    return vendor.door({"meter": "spend", "limit": "1"})


def line(meter: str, quantity: str, model: str = "large") -> dict[str, object]:
    return {"meter": meter, "quantity": quantity, "dimensions": {"model": model}}


def ask(door: AgentDoor, *lines: dict[str, object], **more: object) -> Answer:
    return door.post("/authorize", {"usage": list(lines), **more})


def standing(answer: Answer) -> tuple[str, str, str]:
    [quota] = answer["quotas"]
    return quota["used"], quota["held"], quota["remaining"]


@pytest.mark.parametrize("mode", ["check", "consume", "hold"])
def test_authorize__above_the_budget__is_refused_in_money(door: AgentDoor, mode: str) -> None:
    answer = ask(door, line("in", "100"), line("out", "91"), mode=mode)

    assert (answer.status, answer["allowed"], answer["code"]) == (200, False, "quota_exceeded")
    [reason] = answer["codes"]
    assert (reason["meter"], reason["asked"], reason["remaining"]) == ("spend", "1.01", "1")
    assert standing(answer) == ("0", "0", "1")


def test_authorize__within_the_budget__counts_tokens_and_money(door: AgentDoor) -> None:
    answer = ask(door, line("in", "100"), line("out", "90"), id="step-1")

    assert (answer["allowed"], len(answer["event_ids"])) == (True, 2)
    assert standing(answer) == ("1", "0", "0")
    again = ask(door, line("in", "100"), line("out", "90"), id="step-1")
    assert (again["replayed"], again["event_ids"]) == (True, answer["event_ids"])
    assert standing(again) == ("1", "0", "0")


@pytest.mark.parametrize("mode", ["check", "consume", "hold"])
def test_authorize__without_a_rate__is_refused_whoever_has_a_budget(door: AgentDoor, vendor: Vendor, mode: str) -> None:
    answer = ask(door, line("out", "1", "small"), mode=mode)

    assert (answer["allowed"], answer["code"]) == (False, "rate_missing")
    [reason] = answer["codes"]
    assert (reason["meter"], reason["scope"], reason["retryable"]) == ("spend", "license", False)
    assert ask(vendor.door({"meter": "in", "limit": "1000"}), line("out", "1", "small"), mode=mode)["allowed"] is True


def test_hold_and_settle__the_estimate__then_the_truth(door: AgentDoor) -> None:
    held = ask(door, line("in", "100"), line("out", "80"), mode="hold")
    assert standing(held) == ("0", "0.9", "0.1")
    assert ask(door, line("out", "11"))["code"] == "quota_exceeded"

    part = {"final": False, "id": "chunk-1", "usage": [line("out", "20")]}
    assert standing(door.post(f"/holds/{held['hold']['id']}/settle", part)) == ("0.2", "0.7", "0.1")
    rest = {"usage": [line("in", "90"), line("out", "10")]}
    settled = door.post(f"/holds/{held['hold']['id']}/settle", rest)
    assert standing(settled) == ("0.39", "0", "0.61")


def test_usage__is_recorded_above_the_budget__and_told(door: AgentDoor) -> None:
    answer = door.post("/usage", {"events": [{"id": "a", **line("out", "150")}, {"id": "b", **line("out", "1", "x")}]})

    assert (answer["recorded"], answer["quotas"][0]["state"]) == (2, "exceeded")
    assert standing(answer) == ("1.5", "0", "0")
    assert [result.get("flags") for result in answer["results"]] == [None, ["rate_missing"]]
    assert UsageEvent.objects.filter(derived_from__isnull=False).count() == 1


def test_cost_meter__by_itself__takes_no_events(door: AgentDoor) -> None:
    lone = door.post("/usage", {"id": "a", "meter": "spend", "quantity": "1"})
    assert (lone.status, lone["code"]) == (422, "meter_derived")
    batch = door.post("/usage", {"events": [{"id": "a", "meter": "spend", "quantity": "1"}]})
    assert [result["code"] for result in batch["results"]] == ["meter_derived"]
    asked = ask(door, {"meter": "spend", "quantity": "1"})
    assert (asked.status, asked["errors"][0]["code"]) == (422, "meter_derived")


def test_lease__without_a_rate__is_refused(door: AgentDoor) -> None:
    answer = door.post("/tokens", {"lease": [line("out", "1", "small")]})
    assert (answer.status, answer["code"]) == (403, "rate_missing")
