"""Wrong licence keys are counted by address and by tenant; right ones elsewhere are not hindered."""

from __future__ import annotations

from typing import Any

import pytest

from common.ids import new_id
from licenses.services import key_guesses
from licenses.services.key_guesses import FallbackGuesses, Guess, check_guesses, network_of

pytestmark = pytest.mark.django_db

NOW = 1_800_000_000_000_000
SECOND = 1_000_000


@pytest.fixture(autouse=True)
def _limits(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PERMETER_LICENSE_KEY_GUESSES = 10
    settings.PERMETER_LICENSE_KEY_GUESSES_PER_TENANT = 30
    monkeypatch.setattr(key_guesses, "_paused_until", 0.0)


class Counting:
    """Both counts behind one face: Valkey's with its clock given, and that in memory."""

    def __init__(self, in_memory: bool) -> None:
        self.now = NOW
        self.fallback = FallbackGuesses(processes=1, clock=lambda: self.now / SECOND) if in_memory else None

    def __call__(self, tenant_id: Any, address: str, *, wrong: bool) -> int:
        guess = Guess(tenant_id, address, wrong)
        [wait] = self.fallback.check([guess]) if self.fallback else check_guesses([guess], now=self.now)
        return wait


@pytest.fixture(params=[False, True], ids=["valkey", "memory"])
def ask(request: pytest.FixtureRequest) -> Counting:
    return Counting(request.param)


def test_wrong__ten_in_a_minute__pass__the_eleventh_waits_and_so_does_a_right_one(ask: Counting) -> None:
    tenant = new_id()
    assert [ask(tenant, "192.0.2.1", wrong=True) for _ in range(12)] == [0] * 10 + [6, 6]
    assert ask(tenant, "192.0.2.1", wrong=False) == 6
    # Another address, another tenant: not hindered.
    assert ask(tenant, "192.0.2.2", wrong=False) == 0
    assert ask(new_id(), "192.0.2.1", wrong=False) == 0


def test_wait__that_was_told__is_enough__and_a_microsecond_less_is_not(ask: Counting) -> None:
    tenant = new_id()
    for _ in range(10):
        ask(tenant, "192.0.2.1", wrong=True)
    ask.now += 6 * SECOND - 1
    assert ask(tenant, "192.0.2.1", wrong=True) == 1
    ask.now += 1
    assert [ask(tenant, "192.0.2.1", wrong=True) for _ in range(2)] == [0, 6]


def test_right__as_often_as_one_likes__is_not_counted(ask: Counting) -> None:
    tenant = new_id()
    assert {ask(tenant, "192.0.2.1", wrong=False) for _ in range(100)} == {0}
    assert ask(tenant, "192.0.2.1", wrong=True) == 0


def test_tenant__guessed_at_from_many_addresses__those_that_were_wrong_wait_and_nobody_else(ask: Counting) -> None:
    tenant = new_id()
    for number in range(30):
        assert ask(tenant, f"192.0.2.{number}", wrong=True) == 0
    assert ask(tenant, "192.0.2.7", wrong=True) == 2
    assert ask(tenant, "192.0.2.7", wrong=False) == 2
    assert ask(tenant, "198.51.100.1", wrong=False) == 0
    assert ask(tenant, "198.51.100.1", wrong=True) == 0
    assert ask(tenant, "198.51.100.1", wrong=True) == 2
    ask.now += 60 * SECOND
    assert ask(tenant, "192.0.2.7", wrong=True) == 0


def test_many__in_one_flight__are_counted_one_after_another() -> None:
    tenant = new_id()
    guesses = [Guess(tenant, "192.0.2.1", wrong=True)] * 12
    assert check_guesses(guesses, now=NOW) == [0] * 10 + [6, 6]
    assert check_guesses([]) == []


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("", ""),
    ],
)
def test_address__of_ipv6__is_its_network(address: str, counted_as: str) -> None:
    assert network_of(address) == counted_as


def test_valkey_away__each_process_counts_its_share(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import redis

    def away() -> Any:
        raise redis.ConnectionError("away")

    settings.PERMETER_WEB_PROCESSES = 5
    key_guesses.fallback_guesses.cache_clear()
    monkeypatch.setattr(key_guesses, "valkey", away)
    tenant = new_id()
    assert [wait > 0 for wait in (check_guesses([Guess(tenant, "192.0.2.1", wrong=True)])[0] for _ in range(3))] == [
        False,
        False,
        True,
    ]
    key_guesses.fallback_guesses.cache_clear()
