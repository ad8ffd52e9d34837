"""Which price holds for a period."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from metering.models import Price
from metering.selectors.prices import price_in_force
from tests.metering.ledger_rows import DECEMBER, NOVEMBER, OCTOBER, Workspace

pytestmark = pytest.mark.django_db

MOMENT = timedelta(microseconds=1)


def _in_force(workspace: Workspace, at: datetime, wanted: dict[str, str] | None = None) -> str | None:
    prices = Price.objects.for_tenant(workspace.tenant)
    price = price_in_force(prices, meter_id=workspace.meter.id, wanted=wanted or {}, at=at)
    return None if price is None or price.unit_price is None else str(price.unit_price.normalize())


def test_price_in_force__dated_prices__hold_from_their_very_start() -> None:
    workspace = Workspace.make()
    workspace.price("1")
    workspace.price("2", starts_at=NOVEMBER)
    workspace.price("3", starts_at=DECEMBER)
    workspace.price("9", filter={"model": "large"})

    assert _in_force(workspace, datetime(2020, 1, 1, tzinfo=UTC)) == "1"
    assert _in_force(workspace, NOVEMBER - MOMENT) == "1"
    assert _in_force(workspace, NOVEMBER) == "2"
    assert _in_force(workspace, DECEMBER - MOMENT) == "2"
    assert _in_force(workspace, DECEMBER) == "3"
    assert _in_force(workspace, NOVEMBER, {"model": "large"}) == "9"
    assert _in_force(workspace, NOVEMBER, {"model": "small"}) is None


def test_price_in_force__none_yet__nothing_is_charged() -> None:
    workspace = Workspace.make()
    workspace.price("2", starts_at=NOVEMBER)
    assert _in_force(workspace, OCTOBER) is None


def test_price_in_force__taken_away_in_the_middle_of_a_period__still_holds_for_it() -> None:
    workspace = Workspace.make()
    workspace.price("1", archived_at=OCTOBER)
    gone = workspace.price("2", archived_at=NOVEMBER + timedelta(days=9))

    assert _in_force(workspace, NOVEMBER) == "2"
    assert _in_force(workspace, DECEMBER) is None
    workspace.price("3")
    assert _in_force(workspace, NOVEMBER) == "3"
    gone.refresh_from_db()
    assert gone.unit_price == Decimal(2)
