"""Every page and action of the dashboard by every role, in one's own workspace and in another's."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import URLPattern, reverse

from dashboard.access import ROLES, Right
from dashboard.urls import urlpatterns
from tenants.domain.enums import Role, TenantStatus
from tenants.models import Membership, Tenant
from tests.dashboard.people import browser, member
from tests.factories import Shop, make_api_key, make_shop, make_test_workspace, make_user

pytestmark = pytest.mark.django_db

#: All that is about a workspace; whoever adds a path has it tried here.
PAGES = {each.name: each for each in urlpatterns if isinstance(each, URLPattern) and "slug" in each.pattern.converters}
CASES = [(name, method) for name, page in PAGES.items() for method in page.callback.methods]


@pytest.fixture
def shop() -> Shop:
    return make_shop()


def path_of(name: str, shop: Shop, *, slug: str | None = None) -> str:
    values = {
        "slug": slug or shop.tenant.slug,
        "license_id": shop.license.public_id,
        "agent_id": shop.agent.public_id,
        "key_id": make_api_key(shop.tenant).api_key.public_id,
    }
    return reverse(f"dashboard:{name}", kwargs={each: values[each] for each in PAGES[name].pattern.converters})


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(("name", "method"), CASES)
def test_page__each_role__is_let_in_or_told_who_can(shop: Shop, name: str, method: str, role: Role) -> None:
    right = PAGES[name].callback.right
    answer = browser(shop.tenant, role).generic(method, path_of(name, shop))
    if role in ROLES[right]:
        assert answer.status_code == (302 if method == "POST" else 200)
    else:
        assert answer.status_code == 403
        assert f"You are a {role} of" in " ".join(answer.content.decode().split())
    shop.license.refresh_from_db()
    shop.agent.refresh_from_db()
    untouched = (shop.license.status, shop.agent.status) == ("active", "active")
    assert untouched or (method == "POST" and role in ROLES[right])


@pytest.mark.parametrize(
    ("role", "steers"), [("owner", True), ("admin", True), ("developer", True), ("billing", False), ("viewer", False)]
)
def test_steering__by_role__is_for_owner_admin_and_developer(role: str, steers: bool) -> None:
    assert (Role(role) in ROLES[Right.STEER]) is steers


@pytest.mark.parametrize(("name", "method"), CASES)
def test_page__workspace_of_others__is_not_found_like_one_that_does_not_exist(name: str, method: str) -> None:
    mine, theirs = make_shop(), make_shop()
    client = browser(mine.tenant)
    foreign = client.generic(method, path_of(name, theirs))
    absent = client.generic(method, path_of(name, theirs, slug="no-such-workspace"))
    assert (foreign.status_code, absent.status_code) == (404, 404)
    theirs.agent.refresh_from_db()
    theirs.license.refresh_from_db()
    assert (theirs.agent.status, theirs.license.status) == ("active", "active")


@pytest.mark.parametrize(("name", "method"), [each for each in CASES if "_id" in str(PAGES[each[0]].pattern)])
def test_page__id_of_another_workspace__is_not_found(name: str, method: str) -> None:
    mine, theirs = make_shop(), make_shop()
    answer = browser(mine.tenant).generic(method, path_of(name, theirs, slug=mine.tenant.slug))
    assert answer.status_code == 404
    theirs.agent.refresh_from_db()
    theirs.license.refresh_from_db()
    assert (theirs.agent.status, theirs.license.status) == ("active", "active")


@pytest.mark.parametrize("garbage", ["lic_", "agt_00000000000000000000000000", "x", "%00", "lic_" + "z" * 26])
def test_page__id_that_is_none__is_not_found(shop: Shop, garbage: str) -> None:
    client = browser(shop.tenant)
    assert client.get(f"/dashboard/{shop.tenant.slug}/licenses/{garbage}/revoke/").status_code == 404
    assert client.get(f"/dashboard/{shop.tenant.slug}/agents/{garbage}/revoke/").status_code == 404


@pytest.mark.parametrize(("name", "method"), CASES)
def test_page__nobody_logged_in__leads_to_the_log_in_and_back(shop: Shop, name: str, method: str) -> None:
    path = path_of(name, shop)
    answer = Client().generic(method, path)
    assert answer.status_code == 302
    back = path if method == "GET" else "/dashboard/"
    assert answer.headers["Location"] == f"/accounts/login/?next={back}"


def test_action__session_has_expired__leads_back_to_the_page_it_was_done_on(shop: Shop) -> None:
    path = path_of("agent-suspend", shop)
    referrer = f"http://testserver/dashboard/{shop.tenant.slug}/agents/?status=active"
    plain = Client().post(path, headers={"referer": referrer})
    assert plain.headers["Location"] == f"/accounts/login/?next=/dashboard/{shop.tenant.slug}/agents/%3Fstatus%3Dactive"
    swapped = Client().post(path, headers={"referer": referrer, "hx-request": "true"})
    assert swapped.headers["HX-Redirect"] == plain.headers["Location"]
    foreign = Client().post(path, headers={"referer": "http://elsewhere.example/x"})
    assert foreign.headers["Location"] == "/accounts/login/?next=/dashboard/"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST"])
def test_page__method_that_it_does_not_know__is_405(shop: Shop, method: str) -> None:
    answer = browser(shop.tenant).generic(method, path_of("agents", shop))
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")


def test_suspended_workspace__owner__sees_all_and_changes_nothing(shop: Shop) -> None:
    Tenant.objects.filter(pk=shop.tenant.pk).update(status=TenantStatus.SUSPENDED, status_reason="unpaid")
    client = browser(shop.tenant)
    page = client.get(path_of("agents", shop))
    assert page.status_code == 200
    assert "This workspace is suspended (unpaid)" in page.content.decode()
    assert "menu-item danger" not in page.content.decode()
    assert client.post(path_of("agent-suspend", shop)).status_code == 403
    shop.agent.refresh_from_db()
    assert shop.agent.status == "active"


def test_test_workspace__member_of_the_live_one__is_let_in_with_the_same_role(shop: Shop) -> None:
    test = make_test_workspace(live=shop.tenant)
    page = browser(shop.tenant, Role.VIEWER).get(f"/dashboard/{test.slug}/")
    assert page.status_code == 200
    assert "nothing in it is ever billed" in page.content.decode()


def test_home__several_workspaces__is_the_one_looked_at_last(shop: Shop) -> None:
    user = member(shop.tenant)
    other = make_shop().tenant
    Membership.objects.create(tenant=other, user=user, role=Role.VIEWER)
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(f"/dashboard/{other.slug}/agents/").status_code == 200
    assert f"<title>Overview, {other.name}" in client.get("/dashboard/").content.decode()
    Membership.objects.filter(user=user, tenant=other).delete()
    assert f"<title>Overview, {shop.tenant.name}" in client.get("/dashboard/").content.decode()


def test_home__operator_without_a_workspace__leads_to_the_admin() -> None:
    client = Client()
    user = make_user()
    user.is_staff = True
    user.save()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get("/dashboard/").headers["Location"] == "/admin/"
    assert 'href="/admin/">Operators’ admin' in client.get("/dashboard/start/").content.decode()


def test_home__no_workspace_yet__leads_to_making_one() -> None:
    client = Client()
    client.force_login(make_user(), backend="django.contrib.auth.backends.ModelBackend")
    assert client.get("/dashboard/").headers["Location"] == "/dashboard/start/"
