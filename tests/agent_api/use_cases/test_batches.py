"""Many commands of many callers at once: each gets its own answer, and one bad one hurts only itself."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import DataError

from agent_api.use_cases import posting
from agent_api.use_cases.authorizing import authorize_many
from agent_api.use_cases.known_callers import Credentials, find
from agent_api.use_cases.recording import record_many
from agent_api.use_cases.validating import validate_many
from common.errors import Problem
from licenses.services.agent_states import suspend_agent
from licenses.services.license_states import suspend_license
from metering.models import Balance, UsageEvent
from metering.services.meters import archive_meter
from tests.agent_api.use_cases.builders import authorize, event, record, validate
from tests.agent_door import Vendor
from tests.factories import ACTOR

pytestmark = pytest.mark.django_db


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


def codes(answers: list[Any]) -> list[str]:
    return [answer.code if isinstance(answer, Problem) else answer.body.code for answer in answers]


def test_authorize_many__64_agents_of_several_tenants__each_counts_on_its_own(
    vendor: Vendor, django_assert_num_queries: Any
) -> None:
    other = Vendor()
    licenses = [vendor.license({"limit": "20"}), vendor.license({"limit": "100"}), other.license({"limit": "100"})]
    keys = [(vendor if number % 3 < 2 else other).agent(licenses[number % 3]).key_text for number in range(64)]
    validate_many([validate(key) for key in keys])
    authorize_many([authorize(key, "0") for key in keys])

    # Four of any batch; it is large, so balances and COPY go apart; and the outbox's: a quota reaches its thresholds.
    with django_assert_num_queries(7):
        answers = authorize_many([authorize(key) for key in keys])

    allowed = [answer.body.allowed for answer in answers]
    assert [sum(allowed[number::3]) for number in range(3)] == [20, 21, 21]
    # Greedy in order: the first twenty got it.
    assert allowed[0::3] == [True] * 20 + [False] * 2
    used = Balance.objects.filter(license_id__in=[each.id for each in licenses]).values_list("license_id", "used")
    assert dict(used) == {license.id: Decimal(n) for license, n in zip(licenses, (20, 21, 21), strict=True)}


def test_authorize_many__dead_broken_and_refused_ones_among_them__hurt_only_themselves(vendor: Vendor) -> None:
    license = vendor.license({"limit": "100"})
    suspended = vendor.license({"limit": "100"})
    suspend_license(tenant=vendor.tenant, license_id=suspended.id, actor=ACTOR)
    good = [vendor.agent(license).key_text for _ in range(3)]
    authorize_many([authorize(good[0], id="mine")])
    commands = [
        authorize(good[0]),
        authorize("pm_ak_nonsense"),
        authorize(vendor.publishable_key()),
        authorize(good[1], usage=[{"meter": "nope", "quantity": "1"}]),
        authorize(vendor.agent(suspended).key_text),
        authorize(good[1], "1000"),
        authorize(good[2], "2", id="mine"),
        authorize(good[1], mode="check"),
        authorize(good[2], mode="hold"),
        authorize(good[2]),
    ]

    answers = authorize_many(commands)

    assert codes(answers) == [
        "allowed",
        "unauthorized",
        "wrong_key_kind",
        "invalid",
        "license_suspended",
        "quota_exceeded",
        "id_conflict",
        "allowed",
        "allowed",
        "allowed",
    ]
    assert UsageEvent.objects.count() == 3


def test_record_many__poison_that_only_the_database_refuses__hurts_only_the_one_who_brought_it(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [vendor.agent(vendor.license({"limit": "100"})).key_text for _ in range(8)]
    real = posting.post

    def post(requests: Any, **more: Any) -> Any:
        if any(request.id == "poison" for request in requests):
            raise DataError("no")
        return real(requests, **more)

    monkeypatch.setattr(posting, "post", post)
    commands = [record(key, event("poison" if number == 5 else "fine")) for number, key in enumerate(keys)]

    answers = record_many(commands)

    outcome = [answer.status if isinstance(answer, Problem) else answer.body.recorded for answer in answers]
    assert outcome == [1, 1, 1, 1, 1, 500, 1, 1]
    assert UsageEvent.objects.count() == 7


def test_record_many__same_key_many_times__counts_each_id_once(vendor: Vendor) -> None:
    key = vendor.agent(vendor.license({"limit": "100"})).key_text
    answers = record_many([record(key, event("a"), event(str(number))) for number in range(10)])
    assert [(answer.body.recorded, answer.body.duplicates) for answer in answers] == [(2, 0), *[(1, 1)] * 9]
    assert answers[-1].body.quotas[0].used == "11"


def test_authorize_many__behind_when_it_reaches_the_ledger__is_decided_again(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changes between the gate and the ledger's lock: the epochs in Postgres tell, though Valkey did not."""
    license = vendor.license({"limit": "100"})
    made = [vendor.agent(license) for _ in range(3)]
    keys = [each.key_text for each in made]
    validate_many([validate(key) for key in keys])
    # No commit here, so nobody tells Valkey: only the ledger can notice.
    suspend_agent(tenant=vendor.tenant, agent_id=made[1].agent.id, actor=ACTOR)
    quota = vendor.quota(on={"agent": made[2].agent.public_id}, limit="3")

    answers = authorize_many([authorize(key, "4") for key in keys])

    assert codes(answers) == ["allowed", "agent_suspended", "quota_exceeded"]
    assert answers[2].body.codes[0].quota == quota.public_id
    assert UsageEvent.objects.count() == 1


def test_record_many__meter_archived_meanwhile__is_unknown_in_the_second_look(vendor: Vendor) -> None:
    key = vendor.agent(vendor.license()).key_text
    validate_many([validate(key)])
    archive_meter(tenant=vendor.tenant, meter_id=vendor.calls.id, actor=ACTOR)

    [answer] = record_many([record(key, event("a"), {"id": "b", "meter": "calls"})])

    assert [(each.status, each.code) for each in answer.body.results] == [
        ("recorded", None),
        ("rejected", "unknown_meter"),
    ]


def test_find__key_is_remembered__not_its_text(vendor: Vendor) -> None:
    from agent_api.use_cases import known_callers

    key = vendor.agent(vendor.license()).key_text
    found = find(Credentials(key))
    assert not isinstance(found, Problem)
    assert find(Credentials(key)) is found
    assert all(key not in repr(known) and isinstance(digest, bytes) for digest, known in known_callers._known.items())
