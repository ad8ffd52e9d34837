"""The overview's numbers, from the ledger's own events."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from metering.services.rollups import roll_up_usage
from tests.dashboard.people import browser
from tests.dashboard.test_lists import MOST_QUERIES
from tests.factories import make_workspace
from tests.metering.ledger_world import World, make_world

pytestmark = pytest.mark.django_db(transaction=True)


def chart(text: str) -> list[dict[str, str]]:
    data = text.split('<script id="usage-data" type="application/json">')[1].split("</script>", maxsplit=1)[0]
    days: list[dict[str, str]] = json.loads(data)["days"]
    return days


def overview(world: World, query: str = "") -> str:
    answer = browser(world.tenant).get(f"/dashboard/{world.tenant.slug}/{query}")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_overview__usage_of_two_days__is_charted_by_day_and_in_the_table() -> None:
    now = datetime.now(UTC)
    world = make_world(around=now)
    world.post(world.request("1200", at=now, occurred_at=now - timedelta(days=2)))
    roll_up_usage()
    world.post(world.request("30.5", at=now, occurred_at=now))
    text = overview(world)
    days = chart(text)
    assert len(days) == 30
    assert [each["text"] for each in days if each["value"] != "0"] == ["1,200 tokens", "30.5 tokens"]
    assert days[-1]["text"] == "30.5 tokens"
    assert '<td class="number">1,230.5</td>' in text
    assert "None yesterday by this time" in text
    assert "The busiest of the last 24 hours." in text


def test_overview__timezone_of_the_workspace__decides_what_a_day_is() -> None:
    now = datetime.now(UTC)
    world = make_world(timezone="Pacific/Kiritimati", around=now)
    world.post(world.request("7", at=now, occurred_at=now - timedelta(hours=24)))
    days = chart(overview(world))
    assert days[-2]["value"] == "7"
    assert "Pacific/Kiritimati" in days[-1]["title"]


def test_overview__no_meter_yet__says_what_to_do_first() -> None:
    tenant = make_workspace()
    text = browser(tenant).get(f"/dashboard/{tenant.slug}/").content.decode()
    assert "Nothing is metered yet" in text
    assert "chart.umd" not in text
    assert "$0.00" in text


def test_overview__meter_that_there_is_not__shows_the_first() -> None:
    world = make_world()
    assert "Tokens by day" in overview(world, "?meter=no-such-meter")


def test_overview__with_usage__needs_a_bounded_number_of_queries() -> None:
    now = datetime.now(UTC)
    world = make_world(agents=4, around=now)
    world.quota("10", mode="soft", on="plan")
    world.post(*(world.request("5", caller=world.caller(agent), at=now) for agent in world.agents))
    client = browser(world.tenant)
    client.get(f"/dashboard/{world.tenant.slug}/")
    with CaptureQueriesContext(connection) as queries:
        client.get(f"/dashboard/{world.tenant.slug}/")
    assert len(queries) < MOST_QUERIES
