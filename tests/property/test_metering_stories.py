"""Interleavings worth keeping, told step by step to the product and to the plain model alike."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.property.metering_model.machine import MeteringMachine
from tests.property.metering_model.things import UsageLine

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)


def terms(limit: str, unit_price: str | None) -> dict[str, Any]:
    price = None if unit_price is None else {"model": "per_unit", "unit_price": unit_price}
    return {"limit": Decimal(limit), "price": price, "mode": "soft"}


def tokens(quantity: str) -> UsageLine:
    return UsageLine("tokens", Decimal(quantity))


@pytest.fixture
def story() -> Iterator[MeteringMachine]:
    """A month in which plan `pro` gives 3 tokens and charges 1 for more, plan `team` gives none and charges 2."""
    machine = MeteringMachine()
    machine.begin(zone="UTC", pro=terms("3", "1"), team=terms("0", "2"), calls=Decimal(10))
    yield machine
    machine.balances_agree()
    machine.teardown()


def test_move__nothing_used_after_it__the_new_plan_bills_what_the_month_has_seen(story: MeteringMachine) -> None:
    story.record("solo", [(tokens("7"), None)])
    story.move_to_plan("two", "team")
    story.rest()
    [bill] = story.book.open_bills()
    assert (bill.limit, bill.used, bill.amount) == (0, 7, 14)


def test_move__and_back_again_with_use_between__the_first_plan_bills_all_of_it(story: MeteringMachine) -> None:
    story.record("solo", [(tokens("7"), None)])
    story.move_to_plan("two", "team")
    story.record("solo", [(tokens("5"), None)])
    story.move_to_plan("two", "pro")
    story.rest()
    [bill] = story.book.open_bills()
    assert (bill.limit, bill.used, bill.amount) == (3, 12, 9)


def test_move__to_a_plan_that_bills_nothing__what_was_over_by_then_is_charged(story: MeteringMachine) -> None:
    story.record("solo", [(tokens("7"), None)])
    story.move_to_plan("two", "free")
    story.record("solo", [(tokens("5"), None)])
    story.wait(12 * DAY)
    story.close_periods()
    story.rest()
    [bill] = story.book.bills
    assert (bill.limit, bill.used, bill.amount, bill.status) == (3, 7, 4, "finalized")


def test_price__taken_away_in_the_middle__is_charged_for_the_period_that_it_began(story: MeteringMachine) -> None:
    story.record("solo", [(tokens("7"), None)])
    story.change_plan("pro", terms("3", None), Decimal(10))
    story.rest()
    assert [bill.amount for bill in story.book.open_bills()] == [4]
    story.wait(12 * DAY)
    story.record("solo", [(tokens("7"), None)])
    story.close_periods()
    story.rest()
    assert [bill.amount for bill in story.book.bills] == [4]


def test_hold__whose_connection_dies_at_every_statement__reserves_once(story: MeteringMachine) -> None:
    for after in (False, True):
        for statement in range(1, 9):
            story.lose_a_connection(statement, after)
            story.hold("worker", [tokens("2.5"), UsageLine("calls", Decimal(1))], 930, "count")
            story.balances_agree()
            story.lose_a_connection(statement, after)
            story.settle(len(story.book.holds) - 1, [tokens("1")], final=True, part=0)
            story.balances_agree()


def test_void__in_a_period_that_is_billed__gives_back_exactly_the_difference(story: MeteringMachine) -> None:
    story.record("solo", [(tokens("7"), None), (tokens("2.5"), None)])
    story.wait(12 * DAY)
    story.close_periods()
    story.void(1)
    story.rest()
    assert [(bill.status, bill.quantity, bill.amount) for bill in story.book.bills] == [
        ("finalized", Decimal("6.5"), Decimal("6.50")),
        ("credit", Decimal("-2.5"), Decimal("-2.50")),
    ]


def test_void__in_a_period_that_was_not_billed__makes_no_bill_by_what_the_terms_are_now(story: MeteringMachine) -> None:
    story.record("other", [(tokens("1"), None), (tokens("1"), None)])
    story.wait(12 * DAY)
    story.close_periods()
    story.change_plan("pro", terms("0", "1"), Decimal(10))
    story.void(1)
    story.rest()
    assert story.book.bills == []


def test_void__before_a_new_quota_was_used__frees_what_it_is_shown_to_have_seen(story: MeteringMachine) -> None:
    story.record("solo", [(UsageLine("calls", Decimal(1)), timedelta(minutes=3))])
    story.add_quota("tenant", "solo", "calls", (), Decimal(10), "soft", None, "month")
    story.balances_agree()
    story.void(0)
    story.balances_agree()


def test_move__to_another_plan_and_back__what_is_held_is_shown_and_counted(story: MeteringMachine) -> None:
    call = UsageLine("calls", Decimal(1))
    story.hold("root", [call], 330, "reject")
    story.move_to_plan("one", "free")
    story.hold("worker", [call], 90_330, "reject")
    story.move_to_plan("one", "pro")
    story.balances_agree()
    assert [row[9] for row in story.product.standing("root") if row[1] == "calls"] == [Decimal(1)]
