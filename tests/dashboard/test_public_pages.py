"""The pages for everybody, and the pages of what went wrong."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from django.conf import settings
from django.core.handlers.exception import convert_exception_to_response
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from licensing_site import health
from tests.docs.pages import page, shell_blocks
from tests.factories import make_user

pytestmark = pytest.mark.django_db

TEMPLATES = sorted(Path(settings.BASE_DIR, "templates").rglob("*.html"))
#: Sent as files to keep and print, which bring along what they need.
FILES = {Path(settings.BASE_DIR, "templates", "metering", "statement.html")}
OURS = sorted(Path(settings.BASE_DIR, "static", "permeter").rglob("*.*"))
INLINE = re.compile(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\bsrc=)|javascript:")
OTHER_HOST = re.compile(r"(?:https?:)?//(?!www\.w3\.org/)[a-z0-9-]+\.[a-z]")


def test_home__everything_answers__says_so_and_leads_to_every_door(client: Client) -> None:
    answer = client.get("/")
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "Everything answers." in text
    for path in ("/dashboard/", "/admin/", "/docs/api/", "/docs/tour/", "/accounts/login/", "/accounts/signup/"):
        assert f'href="{path}"' in text


def test_home__both_stores_away__answers_all_the_same(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(health, "CHECKS", {"postgres": fail, "valkey": fail})
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.content.decode().count("Unreachable") == 2
    assert "calls are answered 503 until it is back" in answer.content.decode()


def test_tour__opened__has_the_commands_of_the_readme_and_no_key(client: Client) -> None:
    text = client.get("/docs/tour/").content.decode()
    shown = [unescape(block) for block in re.findall(r'<code id="tour-\d+">(.*?)</code>', text, re.DOTALL)]
    assert shown == ["\n".join(lines) for lines in shell_blocks(page("README.md"))]
    assert len(shown) == 10
    assert re.findall(r"pm_[sap]k_[A-Za-z0-9]{6,}", text) == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(settings.BASE_DIR)))
def test_template__any__needs_nothing_inline_and_no_other_host(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert INLINE.findall(text) == (["<style"] if path in FILES else [])
    assert OTHER_HOST.findall(text) == []


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_static_file__any_of_ours__needs_no_other_host(path: Path) -> None:
    assert OTHER_HOST.findall(path.read_text(encoding="utf-8")) == []


def test_error_pages__each__says_what_to_do_and_carries_the_request_id(client: Client) -> None:
    page = client.get("/no-such-page", headers={"X-Request-Id": "r-404"})
    assert page.status_code == 404
    assert "There is no such page" in page.content.decode()
    assert "r-404" in page.content.decode()

    client.force_login(make_user(), backend="django.contrib.auth.backends.ModelBackend")
    page = client.get("/admin/", follow=True)
    assert page.status_code == 403
    assert "You may not go in here" in page.content.decode()


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OperationalError("gone"), 503, "A store cannot be reached"),
        (ValueError("bug"), 500, "The server made a mistake"),
    ],
)
def test_error_page__view_that_fails__tells_nothing_of_the_inside(error: Exception, status: int, said: str) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        raise error

    page = convert_exception_to_response(view)(RequestFactory().get("/dashboard/"))
    text = page.content.decode()
    assert page.status_code == status
    assert said in text
    assert str(error) not in text
    assert ('http-equiv="refresh"' in text) is (status == 503)
