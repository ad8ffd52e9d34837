"""The lists of licences and agents: filters in the URL, search, pages, hostile names, a bounded number of queries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from licenses.models import Agent, License
from tests.dashboard.people import browser
from tests.factories import Shop, make_agent, make_customer, make_license, make_shop

pytestmark = pytest.mark.django_db

HOSTILE = '<script>alert("x")</script>'
MOST_QUERIES = 25


@pytest.fixture
def shop() -> Shop:
    return make_shop()


def page(client: Client, shop: Shop, path: str) -> str:
    answer = client.get(f"/dashboard/{shop.tenant.slug}/{path}")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def ids(text: str, prefix: str) -> set[str]:
    """The public ids that a page's rows can copy."""
    return {part.split('"')[0] for part in text.split('data-copy="')[1:] if part.startswith(prefix)}


def test_licenses__by_status__are_those_in_it(shop: Shop) -> None:
    now = datetime.now(UTC)
    made = {
        "in_force": shop.license,
        "ending": make_license(shop.plan, expires_at=now + timedelta(days=5)),
        "ended": make_license(shop.plan, starts_at=now - timedelta(days=9), expires_at=now - timedelta(days=1)),
        "suspended": make_license(shop.plan),
        "revoked": make_license(shop.plan),
    }
    for state in ("suspended", "revoked"):
        License.objects.filter(pk=made[state].pk).update(status=state)
    client = browser(shop.tenant)
    found = {state: ids(page(client, shop, f"licenses/?status={state}"), "lic_") for state in made}
    expected = {state: {each.public_id} for state, each in made.items()}
    expected["in_force"] |= expected["ending"]
    assert found == expected
    assert len(ids(page(client, shop, "licenses/"), "lic_")) == len(made)
    assert len(ids(page(client, shop, "licenses/?status=nonsense"), "lic_")) == len(made)


def test_licenses__search__finds_by_customer_and_by_id(shop: Shop) -> None:
    other = make_license(shop.plan, make_customer(shop.tenant, name="Zebra Works"))
    client = browser(shop.tenant)
    for text in ("zebra", other.public_id, other.customer.external_id, other.customer.public_id):
        assert ids(page(client, shop, f"licenses/?q={text}"), "lic_") == {other.public_id}
    assert "No licence fits" in page(client, shop, "licenses/?q=nothing-like-it")
    assert "No licence fits" in page(client, shop, "licenses/?q=%00%FF")


def test_licenses__by_plan__keeps_the_other_filters_in_its_links(shop: Shop) -> None:
    text = page(browser(shop.tenant), shop, f"licenses/?plan={shop.plan.code}&q={shop.customer.external_id}")
    assert ids(text, "lic_") == {shop.license.public_id}
    assert f"?plan={shop.plan.code}&amp;q={shop.customer.external_id}&amp;status=suspended" in text


def test_agents__by_status__are_those_in_it(shop: Shop) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    ended = make_agent(shop.license).agent
    Agent.objects.filter(pk=ended.pk).update(expires_at=past)
    suspended = make_agent(shop.license).agent
    Agent.objects.filter(pk=suspended.pk).update(status="suspended")
    below = make_agent(shop.license, parent_id=suspended).agent
    client = browser(shop.tenant)
    assert ids(page(client, shop, "agents/?status=active"), "agt_") == {shop.agent.public_id, below.public_id}
    assert ids(page(client, shop, "agents/?status=ended"), "agt_") == {ended.public_id}
    assert ids(page(client, shop, "agents/?status=suspended"), "agt_") == {suspended.public_id}
    text = page(client, shop, f"agents/?q={below.public_id}")
    assert "Parent stopped" in text
    assert f"below {suspended.name}" in text


def test_agents__search_by_license__finds_all_under_it(shop: Shop) -> None:
    make_agent(make_license(shop.plan))
    text = page(browser(shop.tenant), shop, f"agents/?q={shop.license.public_id}")
    assert ids(text, "agt_") == {shop.agent.public_id}


def test_agents__more_than_a_page__lead_on_and_back(shop: Shop) -> None:
    for _ in range(60):
        make_agent(shop.license)
    client = browser(shop.tenant)
    first = page(client, shop, "agents/")
    assert "50 of 61" in first
    next_path = first.split('rel="next"')[0].rsplit('href="', 1)[1].split('"')[0]
    second = page(client, shop, next_path.removeprefix(f"/dashboard/{shop.tenant.slug}/"))
    assert "11 of 61" in second
    assert len(ids(first, "agt_") | ids(second, "agt_")) == 61
    assert "To the start" in second
    assert client.get(f"/dashboard/{shop.tenant.slug}/agents/?cursor=made-up").status_code == 404


def test_pages__hostile_names__are_shown_as_text(shop: Shop) -> None:
    holder = make_customer(shop.tenant, name=HOSTILE, external_id="=HYPERLINK(1)")
    make_agent(make_license(shop.plan, holder), name=HOSTILE)
    client = browser(shop.tenant)
    for path in ("", "licenses/", "agents/", f"agents/?q={HOSTILE}"):
        text = page(client, shop, path)
        assert HOSTILE not in text
        assert "&lt;script&gt;" in text


@pytest.mark.parametrize("path", ["licenses/", "agents/"])
def test_lists__nothing_there_yet__say_what_to_do_first(path: str) -> None:
    from tests.factories import make_workspace

    tenant = make_workspace()
    text = browser(tenant).get(f"/dashboard/{tenant.slug}/{path}").content.decode()
    assert "curl -X POST" in text
    assert "/docs/tour/" in text


@pytest.mark.parametrize("path", ["", "licenses/", "agents/"])
def test_pages__many_rows__need_a_bounded_number_of_queries(shop: Shop, path: str) -> None:
    for _ in range(20):
        make_agent(make_license(shop.plan), parent_id=None)
    client = browser(shop.tenant)
    client.get(f"/dashboard/{shop.tenant.slug}/{path}")
    with CaptureQueriesContext(connection) as queries:
        client.get(f"/dashboard/{shop.tenant.slug}/{path}")
    assert len(queries) < MOST_QUERIES
