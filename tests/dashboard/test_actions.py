"""Suspend, resume, reinstate and revoke from the pages: through the services, as the person, told in a message."""

from __future__ import annotations

import pytest
from django.test import Client

from tenants.models import AuditEntry
from tests.dashboard.people import browser
from tests.factories import Shop, make_agent, make_shop

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shop() -> Shop:
    return make_shop()


def act(client: Client, path: str, **data: str) -> str:
    """What the page says after the action, with white space squeezed."""
    answer = client.post(path, data, follow=True)
    assert answer.status_code == 200
    page = answer.content.decode()
    return " ".join(page[page.index('id="notices"') : page.index("page-head")].split())


def agent_path(shop: Shop, action: str) -> str:
    return f"/dashboard/{shop.tenant.slug}/agents/{shop.agent.public_id}/{action}/"


def license_path(shop: Shop, action: str) -> str:
    return f"/dashboard/{shop.tenant.slug}/licenses/{shop.license.public_id}/{action}/"


def test_suspend_agent__with_agents_below__says_who_stops_and_offers_undo(shop: Shop) -> None:
    make_agent(shop.license, parent_id=shop.agent)
    client = browser(shop.tenant)
    said = act(client, agent_path(shop, "suspend"))
    assert f"{shop.agent.name} is suspended and is refused from now on. 1 agent below it stops with it." in said
    assert f'action="{agent_path(shop, "resume")}"' in said
    shop.agent.refresh_from_db()
    assert shop.agent.status == "suspended"
    entry = AuditEntry.objects.get(action="agent.suspended")
    user_id = client.session["_auth_user_id"]
    assert (entry.actor_kind, entry.actor_id[:4], entry.tenant_id) == ("user", "usr_", shop.tenant.id)
    assert entry.actor_name
    assert user_id

    said = act(client, agent_path(shop, "resume"))
    assert f"{shop.agent.name} may work again." in said
    shop.agent.refresh_from_db()
    assert shop.agent.status == "active"


def test_revoke_agent__asked__names_what_stops_and_changes_nothing_yet(shop: Shop) -> None:
    make_agent(shop.license, parent_id=shop.agent)
    page = browser(shop.tenant).get(agent_path(shop, "revoke")).content.decode()
    assert f"Revoke {shop.agent.name} for good?" in page
    assert "1 agent below it is revoked with it" in " ".join(page.split())
    assert "This cannot be undone." in page
    shop.agent.refresh_from_db()
    assert shop.agent.status == "active"


def test_revoke_agent__asked_by_htmx__is_a_fragment_for_the_dialog(shop: Shop) -> None:
    answer = browser(shop.tenant).get(agent_path(shop, "revoke"), headers={"hx-request": "true"})
    page = answer.content.decode()
    assert "<html" not in page
    assert "data-close" in page


def test_revoke_agent__confirmed__is_done_with_its_tree_and_its_reason(shop: Shop) -> None:
    child = make_agent(shop.license, parent_id=shop.agent).agent
    said = act(browser(shop.tenant), agent_path(shop, "revoke"), reason="leaked")
    assert f"{shop.agent.name} is revoked for good. Its keys are dead." in said
    assert "Undo" not in said
    shop.agent.refresh_from_db()
    child.refresh_from_db()
    assert (shop.agent.status, child.status) == ("revoked", "revoked")
    assert AuditEntry.objects.get(action="agent.revoked", target_id=shop.agent.public_id).reason == "leaked"


def test_suspend_agent__revoked_meanwhile__says_so_and_changes_nothing(shop: Shop) -> None:
    client = browser(shop.tenant)
    act(client, agent_path(shop, "revoke"))
    said = act(client, agent_path(shop, "suspend"))
    assert "The agent is revoked for good" in said
    assert 'class="notice error"' in said
    assert not AuditEntry.objects.filter(action="agent.suspended").exists()


def test_license__suspend_and_undo_and_revoke__move_its_state(shop: Shop) -> None:
    client = browser(shop.tenant)
    said = act(client, license_path(shop, "suspend"))
    assert f"The licence of {shop.customer} is suspended. 1 agent under it is refused from now on." in said
    shop.license.refresh_from_db()
    assert shop.license.status == "suspended"
    act(client, license_path(shop, "reinstate"))
    shop.license.refresh_from_db()
    assert shop.license.status == "active"
    act(client, license_path(shop, "revoke"), reason="unpaid")
    shop.license.refresh_from_db()
    assert (shop.license.status, shop.license.status_reason) == ("revoked", "unpaid")
    shop.agent.refresh_from_db()
    assert shop.agent.status == "active"


@pytest.mark.parametrize("next_path", ["https://elsewhere.example/", "//elsewhere.example/", "javascript:alert(1)", ""])
def test_action__next_is_not_a_page_of_ours__goes_to_the_list(shop: Shop, next_path: str) -> None:
    answer = browser(shop.tenant).post(agent_path(shop, "suspend"), {"next": next_path})
    assert answer.headers["Location"] == f"/dashboard/{shop.tenant.slug}/agents/"


def test_action__next_is_a_filtered_list__goes_back_to_it(shop: Shop) -> None:
    wanted = f"/dashboard/{shop.tenant.slug}/agents/?status=active"
    answer = browser(shop.tenant).post(agent_path(shop, "suspend"), {"next": wanted})
    assert answer.headers["Location"] == wanted


def test_action__without_the_csrf_token__is_refused_and_changes_nothing(shop: Shop) -> None:
    client = browser(shop.tenant)
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client.cookies
    answer = strict.post(agent_path(shop, "suspend"))
    assert answer.status_code == 403
    assert "This form is out of date" in answer.content.decode()
    shop.agent.refresh_from_db()
    assert shop.agent.status == "active"
