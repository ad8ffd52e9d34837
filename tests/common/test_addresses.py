"""Who calls, and from where: what a client writes itself is believed of nobody but trusted proxies."""

from __future__ import annotations

import pytest
from django.test import RequestFactory
from pytest_django import Settings

from common.addresses import client_address, is_within

PROXIES = ["10.0.0.0/8", "2001:db8:1::/48"]


def _address(peer: str, **fields: str) -> str:
    request = RequestFactory().get("/")
    request.META |= {"REMOTE_ADDR": peer, **fields}
    return client_address(request)


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_client_address__no_proxy_is_trusted__is_the_peer_whatever_is_claimed(peer: str, expected: str) -> None:
    assert _address(peer, HTTP_X_FORWARDED_FOR="203.0.113.9", HTTP_FORWARDED="for=203.0.113.9") == expected


@pytest.mark.parametrize(
    ("peer", "field", "expected"),
    [
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("2001:db8:1::7", "2001:db8:2::1", "2001:db8:2::1"),
        ("2001:db8:2::7", "203.0.113.9", "2001:db8:2::7"),
        # The client's own claim stands to the left of what the proxy saw.
        ("10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9, 10.2.3.4", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9, ::ffff:10.2.3.4", "203.0.113.9"),
        ("10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8:2::1]:4711", "2001:db8:2::1"),
        ("10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "203.0.113.9, unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, nonsense, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", " , ", "10.0.0.1"),
        ("", "203.0.113.9", ""),
    ],
)
def test_client_address__behind_trusted_proxies__is_the_right_most_that_is_none(
    settings: Settings, peer: str, field: str, expected: str
) -> None:
    settings.PERMETER_TRUSTED_PROXIES = PROXIES
    assert _address(peer, HTTP_X_FORWARDED_FOR=field) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("for=203.0.113.9", "203.0.113.9"),
        ('For="[2001:db8:2::1]:4711";proto=https', "2001:db8:2::1"),
        ('for="203.0.113.9:80";by=10.0.0.1, for=10.0.0.2', "203.0.113.9"),
        ("for=1.1.1.1, proto=https;for=203.0.113.9", "203.0.113.9"),
        ("for=203.0.113.9, for=_hidden", "10.0.0.1"),
        ("for=203.0.113.9, proto=https", "10.0.0.1"),
    ],
)
def test_client_address__forwarded_field__is_read_alike(settings: Settings, field: str, expected: str) -> None:
    settings.PERMETER_TRUSTED_PROXIES = PROXIES
    assert _address("10.0.0.1", HTTP_FORWARDED=field) == expected


def test_client_address__both_fields_disagree__neither_is_believed(settings: Settings) -> None:
    settings.PERMETER_TRUSTED_PROXIES = PROXIES
    assert _address("10.0.0.1", HTTP_X_FORWARDED_FOR="203.0.113.9", HTTP_FORWARDED="for=203.0.113.8") == "10.0.0.1"
    assert _address("10.0.0.1", HTTP_X_FORWARDED_FOR="203.0.113.9", HTTP_FORWARDED="for=203.0.113.9") == "203.0.113.9"


@pytest.mark.parametrize(
    ("address", "networks", "expected"),
    [
        ("192.0.2.0", ["192.0.2.0/24"], True),
        ("192.0.2.255", ["192.0.2.0/24"], True),
        ("192.0.1.255", ["192.0.2.0/24"], False),
        ("192.0.3.0", ["192.0.2.0/24"], False),
        ("192.0.3.0", ["192.0.2.0/24", "192.0.3.0/32"], True),
        ("::ffff:192.0.2.1", ["192.0.2.0/24"], True),
        ("192.0.2.1", ["::ffff:192.0.2.0/120"], True),
        ("192.0.3.1", ["::ffff:192.0.2.0/120"], False),
        ("2001:db8::ffff", ["2001:db8::/112"], True),
        ("2001:db8::1:0", ["2001:db8::/112"], False),
        ("192.0.2.1", ["::/0"], False),
        ("2001:db8::1", ["0.0.0.0/0"], False),
        ("192.0.2.1", [], False),
        ("", ["0.0.0.0/0", "::/0"], False),
        ("nonsense", ["0.0.0.0/0", "::/0"], False),
    ],
)
def test_is_within__edges_of_networks__are_exact(address: str, networks: list[str], expected: bool) -> None:
    assert is_within(address, networks) is expected
