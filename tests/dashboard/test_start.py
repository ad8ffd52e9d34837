"""The first workspace of a new person."""

from __future__ import annotations

import pytest
from django.test import Client

from dashboard.forms import slug_for
from dashboard.urls import urlpatterns
from tenants.domain.slugs import RESERVED_SLUGS
from tenants.models import AuditEntry, Membership, Tenant
from tests.factories import make_user

pytestmark = pytest.mark.django_db

ANSWERS = {"name": "Acme Röbotics", "timezone": "Europe/Berlin", "currency": "EUR"}


@pytest.fixture
def newcomer() -> Client:
    client = Client()
    client.force_login(make_user(), backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_start__name_given__makes_a_live_and_a_test_workspace(newcomer: Client) -> None:
    answer = newcomer.post("/dashboard/start/", ANSWERS)
    live = Tenant.objects.get(mode="live")
    assert answer.headers["Location"] == "/dashboard/acme-robotics/"
    assert (live.name, live.slug, live.timezone, live.currency) == (
        ANSWERS["name"],
        "acme-robotics",
        "Europe/Berlin",
        "EUR",
    )
    test = Tenant.objects.get(mode="test")
    assert (test.slug, test.live_id, test.currency) == ("acme-robotics-test", live.id, "EUR")
    assert [each.role for each in Membership.objects.all()] == ["owner"]
    assert AuditEntry.objects.filter(action="tenant.created", actor_kind="user").count() == 2
    assert newcomer.get("/dashboard/acme-robotics-test/").status_code == 200


def test_start__sent_twice__is_made_once(newcomer: Client) -> None:
    first, second = (newcomer.post("/dashboard/start/", ANSWERS).headers["Location"] for _ in range(2))
    assert first == second
    assert Tenant.objects.count() == 2


def test_start__name_of_another_vendor__takes_an_address_of_its_own(newcomer: Client) -> None:
    newcomer.post("/dashboard/start/", ANSWERS)
    other = Client()
    other.force_login(make_user(), backend="django.contrib.auth.backends.ModelBackend")
    assert other.post("/dashboard/start/", ANSWERS).headers["Location"] == "/dashboard/acme-robotics-2/"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "  ", "This field is required."),
        ("name", "x" * 201, "at most 200 characters"),
        ("timezone", "Mars/Olympus", "Select a valid choice"),
        ("currency", "XXX", "Select a valid choice"),
    ],
)
def test_start__bad_answer__is_told_beside_the_field_and_kept(
    newcomer: Client, field: str, value: str, said: str
) -> None:
    answer = newcomer.post("/dashboard/start/", {**ANSWERS, field: value})
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert "Europe/Berlin" in answer.content.decode()
    assert Tenant.objects.count() == 0


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Start", "start-workspace"), ("東京", "workspace"), ("A" * 99, "a" * 48), ("_a  b__c!", "a-b--c")],
)
def test_slug__of_any_name__is_an_address_that_names_no_page(name: str, slug: str) -> None:
    assert slug_for(name) == slug


def test_slugs__every_fixed_word_of_the_paths__is_reserved() -> None:
    fixed = {str(each.pattern).partition("/")[0] for each in urlpatterns} - {"", "<slug:slug>"}
    assert fixed <= RESERVED_SLUGS


def test_start__nobody_logged_in__leads_to_the_log_in() -> None:
    assert Client().get("/dashboard/start/").headers["Location"] == "/accounts/login/?next=/dashboard/start/"
