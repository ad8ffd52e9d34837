"""Snapshots that are never used after what they hold has changed, with Valkey and without it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings

from agent_api.use_cases import known_callers
from agent_api.use_cases.authorizing import authorize_many
from agent_api.use_cases.validating import validate_many
from common.errors import Problem
from common.valkey import valkey
from licenses.services import fallback_limits
from licenses.services.agent_states import revoke_agent, suspend_agent
from tests.agent_api.use_cases.builders import authorize, validate
from tests.agent_door import AgentDoor, Vendor
from tests.factories import ACTOR
from tests.own_valkey import OwnValkey

pytestmark = pytest.mark.django_db


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def own(settings: Settings) -> Iterator[OwnValkey]:
    with OwnValkey() as server:
        settings.REDIS_URL = server.url
        yield server


def outcome(key: str) -> str:
    [answer] = validate_many([validate(key)])
    return answer.code if isinstance(answer, Problem) else str(answer.body.code)


def test_snapshot__valkey_flushed_and_changed_untold__is_read_anew(vendor: Vendor) -> None:
    made = vendor.agent(vendor.license())
    assert outcome(made.key_text) == "valid"
    # In this test's transaction nobody is told of the commit; the flush makes everything cold.
    suspend_agent(tenant=vendor.tenant, agent_id=made.agent.id, actor=ACTOR)
    assert outcome(made.key_text) == "valid"
    valkey().flushdb()
    assert outcome(made.key_text) == "agent_suspended"


def test_snapshot__cold_but_current__is_kept(vendor: Vendor, django_assert_num_queries: Any) -> None:
    key = vendor.agent(vendor.license()).key_text
    outcome(key)
    valkey().flushdb()
    with django_assert_num_queries(1):
        assert outcome(key) == "valid"
    with django_assert_num_queries(0):
        assert outcome(key) == "valid"


def test_snapshot__older_than_it_may_be__is_read_anew(vendor: Vendor, settings: Settings) -> None:
    made = vendor.agent(vendor.license())
    assert outcome(made.key_text) == "valid"
    suspend_agent(tenant=vendor.tenant, agent_id=made.agent.id, actor=ACTOR)
    settings.PERMETER_SNAPSHOT_MAX_AGE = timedelta(seconds=0)
    assert outcome(made.key_text) == "agent_suspended"


def test_valkey_away__changes_are_felt_and_epochs_cost_one_query(
    vendor: Vendor, own: OwnValkey, django_assert_num_queries: Any
) -> None:
    license = vendor.license()
    made = [vendor.agent(license) for _ in range(4)]
    keys = [each.key_text for each in made]
    validate_many([validate(key) for key in keys])
    own.stop()

    with django_assert_num_queries(1):
        answers = validate_many([validate(key) for key in keys])
    assert [answer.body.valid for answer in answers] == [True] * 4
    revoke_agent(tenant=vendor.tenant, agent_id=made[0].agent.id, actor=ACTOR)
    suspend_agent(tenant=vendor.tenant, agent_id=made[1].agent.id, actor=ACTOR)
    assert [outcome(key) for key in keys] == ["unauthorized", "agent_suspended", "valid", "valid"]

    own.start()
    time.sleep(0.6)
    assert [outcome(key) for key in keys] == ["unauthorized", "agent_suspended", "valid", "valid"]


def test_valkey_away__rates_are_limited_to_this_process_s_share(
    vendor: Vendor, own: OwnValkey, settings: Settings
) -> None:
    settings.PERMETER_WEB_PROCESSES = 2
    fallback_limits.fallback_limiter.cache_clear()
    door = vendor.door(rate_limits=[{"level": "agent", "limit": 6, "window": 60}])
    assert door.post("/validate").status == 200
    own.stop()
    answers = [door.post("/validate") for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"agent";q=6;w=60'
    fallback_limits.fallback_limiter.cache_clear()


def test_rate_limit__spent__names_the_level_and_says_when(vendor: Vendor) -> None:
    door = vendor.door(
        rate_limits=[
            {"level": "agent", "limit": 3, "window": 60},
            {"level": "agent", "limit": 100, "window": 3600},
            {"level": "license", "limit": 50, "window": 60},
        ]
    )
    answers = [door.post("/validate") for _ in range(4)]
    last = answers[-1]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"agent";q=3;w=60,"agent-2";q=100;w=3600,"license";q=50;w=60'
    assert last.headers["RateLimit"].startswith('"agent";r=0;t=')
    assert (last["code"], last["level"], last["violated-policies"]) == ("rate_limited", "agent", ["agent"])
    assert 0 < int(last.headers["Retry-After"]) <= 20
    assert last["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"


def test_rate_limit__calls_whose_fields_do_not_hold__cost_nothing_and_are_told_first(vendor: Vendor) -> None:
    door = vendor.door(rate_limits=[{"level": "agent", "limit": 2, "window": 600}])
    bad = {"usage": [{"meter": "nope", "quantity": "1"}]}
    assert [door.post("/authorize", bad).status for _ in range(4)] == [422] * 4
    assert [door.post("/validate", raw=b"{").status for _ in range(4)] == [400] * 4
    assert [door.post("/authorize").status for _ in range(3)] == [200, 200, 429]
    refused = [door.post("/authorize", bad), door.post("/validate", raw=b"{")]
    assert [answer.status for answer in refused] == [422, 400]
    assert all(answer.headers["RateLimit"].startswith('"agent";r=0') for answer in refused)


def test_rate_limit__batch__costs_its_events_at_most_the_burst(vendor: Vendor) -> None:
    door = vendor.door(rate_limits=[{"level": "agent", "limit": 10, "window": 600}])
    events = [{"id": str(number), "meter": "tokens", "quantity": "1"} for number in range(40)]
    assert door.post("/usage", {"events": events[:7]}).headers["RateLimit"].startswith('"agent";r=3')
    refused = door.post("/usage", {"events": events[7:11]})
    assert (refused.status, door.post("/usage", {"events": events[7:10]}).status) == (429, 200)
    fresh = vendor.door(rate_limits=[{"level": "agent", "limit": 10, "window": 600}])
    assert fresh.post("/usage", {"events": events})["recorded"] == 40


def test_known_callers__more_than_fit__the_longest_unseen_goes_first(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cachetools import LRUCache

    monkeypatch.setattr(known_callers, "_known", LRUCache(maxsize=2))
    license = vendor.license()
    keys = [vendor.agent(license).key_text for _ in range(3)]
    assert [outcome(key) for key in (*keys, keys[0])] == ["valid"] * 4
    assert len(known_callers._known) == 2


def test_authorize_many__valkey_away__still_counts(vendor: Vendor, own: OwnValkey) -> None:
    key = vendor.agent(vendor.license({"limit": "2"})).key_text
    own.stop()
    answers = [authorize_many([authorize(key)])[0] for _ in range(3)]
    assert [answer.body.allowed for answer in answers if not isinstance(answer, Problem)] == [True, True, False]


def test_door__for_browsers__answers_preflight_and_shows_its_fields(vendor: Vendor) -> None:
    door: AgentDoor = vendor.door()
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    assert door.call("OPTIONS", "/validate", headers=asked).status == 200
    answer = door.post("/validate", headers={"Origin": "https://app.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
