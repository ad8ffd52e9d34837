"""How many queries the hot calls make: part of what they promise."""

from __future__ import annotations

from typing import Any

import pytest

from agent_api.use_cases.authorizing import authorize_many
from agent_api.use_cases.known_callers import forget_all
from agent_api.use_cases.recording import record_many
from agent_api.use_cases.validating import validate_many
from tests.agent_api.use_cases.builders import authorize, event, record, validate
from tests.agent_door import AgentDoor, Vendor

pytestmark = pytest.mark.django_db

SIX = (
    {"limit": "1000"},
    {"limit": "1000", "scope": "agent"},
    {"limit": "1000", "scope": "customer"},
    {"limit": "1000", "period": "day"},
    {"limit": "1000", "period": "hour", "mode": "soft"},
    {"limit": "1000", "period": "lifetime", "filter": {"model": "large"}},
)

#: Savepoint and its release; one query that locks and reads everything, one that writes everything.
LEDGER = 4


@pytest.mark.parametrize(("quotas", "queries"), [((), 0), (SIX[:1], 1), (SIX, 1)])
def test_validate_many__warm__reads_once_where_there_are_quotas(
    quotas: tuple[dict[str, Any], ...], queries: int, django_assert_num_queries: Any
) -> None:
    vendor = Vendor()
    license = vendor.license(*quotas)
    commands = [validate(vendor.agent(license).key_text) for _ in range(5)]
    validate_many(commands)
    for some in (commands[:1], commands):
        with django_assert_num_queries(queries):
            answers = validate_many(some)
        assert [answer.body.valid for answer in answers] == [True] * len(some)


@pytest.mark.parametrize(("quotas", "queries"), [((), LEDGER), (SIX[:1], LEDGER), (SIX, LEDGER)])
@pytest.mark.parametrize("commands", [1, 16])
def test_authorize_many__consume__is_a_fixed_number_whatever_the_quotas_and_commands(
    quotas: tuple[dict[str, Any], ...], queries: int, commands: int, django_assert_num_queries: Any
) -> None:
    vendor = Vendor()
    license = vendor.license(*quotas)
    keys = [vendor.agent(license).key_text for _ in range(commands)]
    authorize_many([authorize(key) for key in keys])
    with django_assert_num_queries(queries):
        answers = authorize_many([authorize(key) for key in keys])
    assert [answer.body.allowed for answer in answers] == [True] * commands


def test_authorize_many__replay_or_refusal__writes_nothing(django_assert_num_queries: Any) -> None:
    vendor = Vendor()
    key = vendor.agent(vendor.license(*SIX)).key_text
    authorize_many([authorize(key, id="x")])
    with django_assert_num_queries(LEDGER - 1):
        [replayed] = authorize_many([authorize(key, id="x")])
    with django_assert_num_queries(LEDGER - 1):
        [refused] = authorize_many([authorize(key, "5000")])
    assert (replayed.body.replayed, refused.body.allowed) == (True, False)


def test_authorize_many__check__reads_once(django_assert_num_queries: Any) -> None:
    vendor = Vendor()
    key = vendor.agent(vendor.license(*SIX)).key_text
    authorize_many([authorize(key)])
    with django_assert_num_queries(1):
        [answer] = authorize_many([authorize(key, mode="check")])
    assert answer.body.allowed is True


@pytest.mark.parametrize(("size", "extra"), [(1, 0), (40, 2)])
def test_record_many__batches_of_many_agents__are_one_transaction(
    # A large one writes ids, events (by COPY) and balances apart.
    size: int,
    extra: int,
    django_assert_num_queries: Any,
) -> None:
    vendor = Vendor()
    license = vendor.license(*SIX)
    keys = [vendor.agent(license).key_text for _ in range(8)]
    record_many([record(key, event(f"warm-{key}")) for key in keys])
    commands = [record(key, *(event(f"{key[-9:]}-{number}") for number in range(size))) for key in keys]
    with django_assert_num_queries(LEDGER + extra):
        answers = record_many(commands)
    assert [answer.body.recorded for answer in answers] == [size] * 8


def test_validate_many__with_holds_about__still_reads_once(django_assert_num_queries: Any) -> None:
    vendor = Vendor()
    key = vendor.agent(vendor.license(*SIX)).key_text
    authorize_many([authorize(key, "5", mode="hold")])
    validate_many([validate(key)])
    with django_assert_num_queries(1):
        [answer] = validate_many([validate(key)])
    assert sorted(quota.held for quota in answer.body.quotas) == ["0", *["5"] * 5]


@pytest.mark.parametrize(("plan", "queries"), [({}, 0), ({"activation_required": True}, 0)])
def test_validate_many__licence_without_activations__reads_nothing_for_a_fingerprint(
    plan: dict[str, Any], queries: int, django_assert_num_queries: Any
) -> None:
    vendor = Vendor()
    key = vendor.agent(vendor.license(**plan)).key_text
    validate_many([validate(key, fingerprint="host-1")])
    with django_assert_num_queries(queries):
        validate_many([validate(key, fingerprint="host-1")])


def test_both__with_activations__read_them_once_for_the_whole_batch(django_assert_num_queries: Any) -> None:
    vendor = Vendor()
    license = vendor.license(activation_required=True)
    keys = [vendor.agent(license).key_text for _ in range(4)]
    for place, key in enumerate(keys):
        assert AgentDoor(key).post("/activations", {"fingerprint": f"host-{place}"}).status == 201
    forget_all()
    asked = [validate(key, fingerprint=f"host-{place}") for place, key in enumerate(keys)]
    validate_many(asked)
    for some in (asked[:1], asked):
        with django_assert_num_queries(1):
            answers = validate_many(some)
        assert [answer.body.valid for answer in answers] == [True] * len(some)
    # Who names no machine is refused without a look.
    with django_assert_num_queries(0):
        [answer] = validate_many([validate(keys[0])])
    assert answer.body.code == "fingerprint_required"
    consume = [authorize(key, fingerprint=f"host-{place}") for place, key in enumerate(keys)]
    authorize_many(consume)
    with django_assert_num_queries(LEDGER + 1):
        answers = authorize_many(consume)
    assert [answer.body.allowed for answer in answers] == [True] * 4
