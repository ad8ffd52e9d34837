"""Log-in, sign-up and reset are limited for an address and for an e-mail, and the page says when to come back."""

from __future__ import annotations

import re

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db

PAGES = {
    "/accounts/login/": ({"login": "ann@example.com", "password": "x"}, "login", 10),
    "/accounts/signup/": ({"email": "ann@example.com", "password1": "x", "password2": "y"}, "email", 10),
    "/accounts/password/reset/": ({"email": "ann@example.com"}, "email", 5),
}


@pytest.mark.parametrize("path", PAGES)
def test_one_email__more_posts_than_its_rate__is_429_from_any_address(path: str) -> None:
    data, field, rate = PAGES[path]
    client = Client()
    for number in range(rate):
        answer = client.post(path, data, REMOTE_ADDR=f"192.0.2.{number}")
        assert answer.status_code != 429, number
    answer = client.post(path, {**data, field: " ANN@Example.com "}, REMOTE_ADDR="192.0.2.99")
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 15 * 60
    text = answer.content.decode()
    assert "Too many tries" in text
    assert re.search(r"Come back in \d+ (second|minute)s?, at <time", text)

    other = client.post(path, {**data, field: "bob@example.com"}, REMOTE_ADDR="192.0.2.99")
    assert other.status_code != 429
    assert client.get(path, REMOTE_ADDR="192.0.2.99").status_code == 200


@pytest.mark.parametrize("path", PAGES)
def test_one_address__more_posts_than_its_rate__is_429_for_any_email(path: str) -> None:
    data, field, _ = PAGES[path]
    client = Client()
    statuses = [client.post(path, {**data, field: f"ann{number}@example.com"}).status_code for number in range(31)]
    assert statuses[-1] == 429
    assert client.post(path, data, REMOTE_ADDR="192.0.2.1").status_code != 429
