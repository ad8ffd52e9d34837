"""The dashboard in a browser: looked at by axe in both colours and widths, steered with and without scripts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.conftest import NewVisitor, Place, Visitor
from tests.http_client import Line
from tests.stack_fixtures import LiveStack

pytestmark = [pytest.mark.stack, pytest.mark.browser]

PUBLIC = [
    "/",
    "/docs/",
    "/docs/tour/",
    "/accounts/login/",
    "/accounts/signup/",
    "/accounts/password/reset/",
    "/no-such",
]
LOOKS = [(1280, False), (1280, True), (360, False), (360, True)]


def use_something(place: Place, stack: LiveStack) -> None:
    """A meter and usage of the last days, recorded by the agent itself."""
    from metering.services.meters import create_meter
    from tests.factories import ACTOR

    with stack.orm():
        create_meter(tenant=place.shop.tenant, actor=ACTOR, code="tokens", name="Tokens", unit="token")
    now = datetime.now(UTC)
    days = [(day, (now - timedelta(days=day)).isoformat()) for day in range(20)]
    events = [{"id": f"e-{n}", "meter": "tokens", "quantity": str(1000 + n), "occurred_at": at} for n, at in days]
    answer = Line(stack, key=place.shop.agent_key).agent("POST", "/usage", {"events": events})
    assert answer.json["recorded"] == len(events), answer


def logged_in(visitor: NewVisitor, place: Place, **how: object) -> Visitor:
    someone = visitor(**how)
    someone.log_in(place.email)
    return someone


@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_public_pages__each_width_and_colour__look_right(visitor: NewVisitor, width: int, dark: bool) -> None:
    someone = visitor(width=width, dark=dark)
    for path in PUBLIC:
        someone.visit(path)
        someone.looks_right()


def test_api_reference__loaded__shows_the_endpoints_and_breaks_no_policy(visitor: NewVisitor) -> None:
    someone = visitor()
    someone.visit("/docs/api/")
    someone.page.get_by_text("/agent/v1/authorize").first.wait_for()
    assert someone.complaints == []


@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_workspace_pages__each_width_and_colour__look_right(
    visitor: NewVisitor, place: Place, live_stack: LiveStack, width: int, dark: bool
) -> None:
    use_something(place, live_stack)
    someone = logged_in(visitor, place, width=width, dark=dark)
    revoke = f"{place.path}agents/{place.shop.agent.public_id}/revoke/"
    for path in ["", "licenses/", "agents/", "agents/?q=nothing-like-it"]:
        someone.visit(place.path + path)
        someone.looks_right()
    for path in [revoke, "/dashboard/start/", "/accounts/email/", "/accounts/password/change/", "/accounts/2fa/"]:
        someone.visit(path)
        someone.looks_right()


def test_overview__with_usage__draws_the_chart_and_has_its_numbers_in_a_table(
    visitor: NewVisitor, place: Place, live_stack: LiveStack
) -> None:
    use_something(place, live_stack)
    someone = logged_in(visitor, place)
    someone.visit(place.path)
    assert (
        someone.page.evaluate("Chart.getChart(document.querySelector('canvas')).data.datasets[0].data.at(-1)") == 1000
    )
    someone.page.click("text=The numbers as a table")
    assert "20,190" in someone.page.inner_text("tfoot")
    someone.page.focus("canvas")
    someone.page.keyboard.press("ArrowLeft")
    shown = someone.page.evaluate("Chart.getChart(document.querySelector('canvas')).tooltip.body[0].lines[0]")
    assert shown == "1,001 tokens"
    someone.looks_right()


def test_agent__suspended_and_undone__is_said_without_loading_the_page_anew(visitor: NewVisitor, place: Place) -> None:
    someone = logged_in(visitor, place)
    page, name = someone.page, place.shop.agent.name
    someone.visit(f"{place.path}agents/?status=active")
    page.evaluate("window.stayed = true")
    page.click(f"[aria-label='Actions for {name}']")
    page.click(".menu[open] >> text=Suspend")
    page.wait_for_selector(f"text={name} is suspended and is refused from now on. 1 agent below it stops with it.")
    assert page.url.endswith("agents/?status=active")
    page.click("text=Undo")
    page.wait_for_selector(f"text={name} may work again.")
    assert page.evaluate("window.stayed")
    someone.looks_right()


def test_agent__revoked_in_the_dialog__asks_first_and_is_cut_off(
    visitor: NewVisitor, place: Place, live_stack: LiveStack
) -> None:
    someone = logged_in(visitor, place)
    page, name = someone.page, place.shop.agent.name
    line = Line(live_stack, key=place.shop.agent_key)
    assert line.agent("POST", "/validate", {}).status == 200
    someone.visit(f"{place.path}agents/")
    page.click(f"[aria-label='Actions for {name}']")
    page.click(".menu[open] >> text=Revoke")
    page.wait_for_selector("dialog[open]")
    someone.looks_right()
    page.click("dialog >> text=Keep it")
    page.wait_for_selector("dialog", state="hidden")
    page.click(f"[aria-label='Actions for {name}']")
    page.click(".menu[open] >> text=Revoke")
    page.fill("dialog[open] #reason", "leaked")
    page.click("dialog >> text=Revoke for good")
    page.wait_for_selector(f"text={name} is revoked for good.")
    assert line.agent("POST", "/validate", {}).status == 401


def test_agent__without_scripts__is_suspended_and_resumed_all_the_same(visitor: NewVisitor, place: Place) -> None:
    someone = logged_in(visitor, place, scripts=False)
    page, name = someone.page, place.shop.agent.name
    someone.visit(f"{place.path}agents/")
    page.click(f"[aria-label='Actions for {name}']")
    page.click(".menu[open] >> text=Suspend")
    page.wait_for_selector(f"text={name} is suspended")
    page.click("text=Undo")
    page.wait_for_selector(f"text={name} may work again.")
    page.click(f"[aria-label='Actions for {name}']")
    page.click(".menu[open] >> text=Revoke")
    page.wait_for_selector("h1:has-text('for good?')")


def test_frame__on_a_phone__has_its_menu_in_a_sheet_and_tables_as_cards(visitor: NewVisitor, place: Place) -> None:
    someone = logged_in(visitor, place, width=360)
    page = someone.page
    someone.visit(f"{place.path}agents/")
    assert not page.is_visible("#sidebar")
    assert page.evaluate("document.querySelector('thead').offsetHeight") <= 1
    assert page.evaluate("getComputedStyle(document.querySelector('tbody tr')).display") == "grid"
    page.click("[aria-label='Open the menu']")
    assert page.is_visible("#sidebar")
    someone.looks_right()
    page.click("#sidebar >> text=Licences")
    page.wait_for_selector("h1:has-text('Licences')")


def test_colours__dark_is_chosen__stay_dark_from_page_to_page(visitor: NewVisitor, place: Place) -> None:
    someone = logged_in(visitor, place)
    someone.visit(place.path)
    light = someone.page.evaluate("getComputedStyle(document.body).backgroundColor")
    someone.page.click("[data-theme-choice=dark]")
    someone.visit(f"{place.path}licenses/")
    assert someone.page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    someone.looks_right()
    someone.page.click("[data-theme-choice=system]")
    someone.visit(place.path)
    assert someone.page.evaluate("getComputedStyle(document.body).backgroundColor") == light


def test_keyboard__from_the_top__reaches_the_content_and_the_search(visitor: NewVisitor, place: Place) -> None:
    someone = logged_in(visitor, place)
    page = someone.page
    someone.visit(f"{place.path}agents/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip-link"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type("indexer")
    page.keyboard.press("Enter")
    page.wait_for_url("**/agents/?q=indexer")
    assert "1 of 1" in page.inner_text(".list-foot")
