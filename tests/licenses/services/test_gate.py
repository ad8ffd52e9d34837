"""The gate against a real Valkey of its own."""

import threading
import time
from collections.abc import Iterator, Sequence
from uuid import UUID, uuid4

import pytest
import redis
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from common.epochs import EpochKey, publish_epochs
from licenses.domain.enums import LimitLevel
from licenses.domain.gcra import SECOND, policy, step
from licenses.domain.rate_limits import GateLimit
from licenses.services import gate
from licenses.services.call_counts import CallCount, RefusalNotes, read_call_counts
from licenses.services.gate import GateCommand, GateUnavailable, check_gate, note_refusal, write_refusals
from tests.own_valkey import OwnValkey

T0 = 1_790_000_000 * SECOND
AGENT, TENANT = LimitLevel.AGENT, LimitLevel.TENANT


@pytest.fixture(scope="module")
def server() -> Iterator[OwnValkey]:
    with OwnValkey() as own:
        yield own


@pytest.fixture(autouse=True)
def use_it(server: OwnValkey, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.REDIS_URL = server.url
    monkeypatch.setattr(gate, "_notes", RefusalNotes())
    monkeypatch.setattr(gate, "_pause", gate._Pause())


def a_limit(limit: int = 10, window: int = 60, burst: int = 5, level: LimitLevel = AGENT) -> GateLimit:
    return GateLimit(level, uuid4(), limit, window, burst)


def keys(server: OwnValkey, tenant_id: UUID) -> dict[str, str]:
    with server.client() as client:
        return {key: client.get(key) for key in client.scan_iter(f"{{{tenant_id.hex}}}:l:*")}


def test_check_gate__published_trace__answers_as_the_standard_says() -> None:
    command = GateCommand(uuid4(), limits=(a_limit(),))
    times = [0, 0, 0, 0, 0, 0, 5, 6, 12, 12, 60]

    states = [check_gate([command], now=T0 + at * SECOND)[0].states[0] for at in times]

    assert [state.remaining for state in states] == [4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 4]
    assert [state.retry_after for state in states] == [0, 0, 0, 0, 0, 6, 1, 0, 0, 6, 0]
    assert [state.reset_seconds for state in states] == [6, 6, 6, 6, 6, 6, 1, 6, 6, 6, 6]


def test_check_gate__server_time__limits_without_a_clock_of_ours() -> None:
    command = GateCommand(uuid4(), limits=(a_limit(limit=3, window=3600, burst=3),))

    verdicts = check_gate([command] * 4)

    assert [verdict.limited is None for verdict in verdicts] == [True, True, True, False]
    assert verdicts[3].limited is not None
    assert 1199 <= verdicts[3].limited.retry_after <= 1200


def test_check_gate__one_level_refuses__no_limiter_moves(server: OwnValkey) -> None:
    tenant_id = uuid4()
    narrow, wide = a_limit(limit=1, burst=1), a_limit(limit=100, burst=100, level=TENANT)
    command = GateCommand(tenant_id, limits=(narrow, wide))
    check_gate([command], now=T0)
    before = keys(server, tenant_id)

    [verdict] = check_gate([command], now=T0 + SECOND)

    assert verdict.limited is not None
    assert (verdict.limited.level, verdict.limited.retry_after) == (AGENT, 59)
    assert [state.retry_after for state in verdict.states] == [59, 0]
    assert keys(server, tenant_id) == before
    assert len(before) == 2


def test_check_gate__weighted_cost__counts_so_much_and_at_most_the_burst() -> None:
    command = GateCommand(uuid4(), limits=(a_limit(burst=10), a_limit(burst=4)), cost=6)

    [first, second] = check_gate([command, command], now=T0)

    assert [state.remaining for state in first.states] == [4, 0]
    assert [state.retry_after for state in second.states] == [12, 24]
    assert second.limited is second.states[1]


@st.composite
def _traffic(draw: st.DrawFn) -> tuple[list[GateLimit], list[tuple[int, list[int], int]]]:
    limits = draw(
        st.lists(
            st.builds(a_limit, limit=st.integers(1, 700), window=st.integers(1, 90), burst=st.integers(1, 40)),
            min_size=1,
            max_size=4,
        )
    )
    subset = st.lists(st.integers(0, len(limits) - 1), unique=True, max_size=len(limits))
    calls = draw(st.lists(st.tuples(st.integers(0, 30 * SECOND), subset, st.integers(0, 50)), min_size=1, max_size=40))
    return limits, calls


@profile(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_traffic())
def test_check_gate__any_traffic__does_what_the_reference_does(
    traffic: tuple[list[GateLimit], list[tuple[int, list[int], int]]],
) -> None:
    limits, calls = traffic
    tenant_id = uuid4()
    tats: dict[int, int | None] = {}
    now = T0
    for wait, subset, cost in calls:
        now += wait
        rules = [policy(limits[place].limit, limits[place].window, limits[place].burst) for place in subset]
        expected = step(rules, [tats.get(place) for place in subset], now=now, cost=cost)
        tats.update(zip(subset, expected.tats, strict=True))

        [verdict] = check_gate([GateCommand(tenant_id, limits=tuple(limits[i] for i in subset), cost=cost)], now=now)

        assert (verdict.limited is None) is expected.allowed
        assert [(state.remaining, state.retry_after) for state in verdict.states] == [
            (rule.remaining(check.ahead), -(-check.retry_after // SECOND))
            for rule, check in zip(rules, expected.checks, strict=True)
        ]


def test_check_gate__32_threads_on_one_limit__lets_exactly_the_burst_through() -> None:
    command = GateCommand(uuid4(), limits=(a_limit(limit=50, window=36_000, burst=50),))
    passed: list[int] = []

    def call() -> None:
        passed.extend(sum(verdict.limited is None for verdict in check_gate([command] * 3)) for _ in range(5))

    threads = [threading.Thread(target=call) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(passed) == 50


def test_check_gate__mixed_batch__verdicts_come_in_order_for_one_flight_of_each_tenant() -> None:
    commands = [
        GateCommand(uuid4() if place % 3 else UUID(int=7), (EpochKey("tenant", UUID(int=place)),), limits=(limit,))
        for place, limit in enumerate(a_limit(limit=place + 1, burst=place + 1) for place in range(200))
    ]

    verdicts = check_gate(commands, now=T0)

    assert [verdict.states[0].limit for verdict in verdicts] == list(range(1, 201))
    assert [verdict.states[0].remaining for verdict in verdicts] == list(range(200))
    assert {verdict.epochs for verdict in verdicts} == {(None,)}


def test_check_gate__hundreds_of_epochs_and_limits__are_all_read() -> None:
    tenant_id = uuid4()
    chain = tuple(EpochKey("agent", uuid4()) for _ in range(2500))
    publish_epochs((tenant_id, key, place) for place, key in enumerate(chain))

    [verdict] = check_gate([GateCommand(tenant_id, chain, limits=tuple(a_limit() for _ in range(1500)))], now=T0)

    assert verdict.epochs == tuple(range(2500))
    assert {state.remaining for state in verdict.states} == {4}


def _with_versions(
    tenant_id: UUID, agent_id: UUID, epochs: Sequence[EpochKey], versions: tuple[int, ...], limit: GateLimit
) -> GateCommand:
    return GateCommand(tenant_id, tuple(epochs), agent_id, (limit,), versions=versions)


@pytest.mark.parametrize(
    ("versions", "stale"),
    [((3, 1), False), ((4, 1), False), ((2, 1), True), ((3, 0), True)],
)
def test_check_gate__versions_given__a_stale_snapshot_is_not_counted(versions: tuple[int, ...], stale: bool) -> None:
    tenant_id, agent_id, limit = uuid4(), uuid4(), a_limit()
    epochs = (EpochKey("tenant", tenant_id), EpochKey("agent", agent_id))
    publish_epochs([(tenant_id, epochs[0], 3), (tenant_id, epochs[1], 1)])

    [verdict] = check_gate([_with_versions(tenant_id, agent_id, epochs, versions, limit)], now=T0)

    assert (verdict.stale, verdict.epochs, verdict.limited) == (stale, (3, 1), None)
    assert verdict.states[0].remaining == (5 if stale else 4)
    assert read_call_counts(tenant_id, [T0 // SECOND // 60]) == [{} if stale else {agent_id: CallCount(1, 0)}]


def test_check_gate__versions_given_and_epoch_missing__is_stale() -> None:
    tenant_id, agent_id = uuid4(), uuid4()
    known, missing = EpochKey("tenant", tenant_id), EpochKey("agent", agent_id)
    publish_epochs([(tenant_id, known, 0)])
    fresh = _with_versions(tenant_id, agent_id, (known,), (0,), a_limit())
    cold = _with_versions(tenant_id, agent_id, (known, missing), (0, 9), a_limit())

    # What comes after a command must not be misread because of it.
    verdicts = check_gate([fresh, cold, fresh], now=T0)

    assert [(verdict.stale, verdict.epochs) for verdict in verdicts] == [
        (False, (0,)),
        (True, (0, None)),
        (False, (0,)),
    ]


def test_check_gate__calls_and_refusals__are_counted_by_agent_and_minute() -> None:
    tenant_id, quiet, busy = uuid4(), uuid4(), uuid4()
    limit = a_limit(limit=2, burst=2)
    check_gate([GateCommand(tenant_id, agent_id=quiet)], now=T0)
    check_gate([GateCommand(tenant_id, agent_id=busy, limits=(limit,))] * 5, now=T0)
    check_gate([GateCommand(tenant_id, agent_id=busy)], now=T0 + 60 * SECOND)
    check_gate([GateCommand(tenant_id)], now=T0)

    minute = T0 // SECOND // 60

    assert read_call_counts(tenant_id, [minute, minute + 1, minute + 2]) == [
        {quiet: CallCount(1, 0), busy: CallCount(5, 3)},
        {busy: CallCount(1, 0)},
        {},
    ]


def test_check_gate__counters__are_gone_after_two_hours(server: OwnValkey) -> None:
    tenant_id = uuid4()
    check_gate([GateCommand(tenant_id, agent_id=uuid4(), limits=(a_limit(),))], now=T0)

    with server.client() as client:
        lifetimes = [client.ttl(key) for key in client.scan_iter(f"{{{tenant_id.hex}}}:*")]

    assert sorted(round(lifetime / 10) * 10 for lifetime in lifetimes) == [20, 7200]


def test_note_refusal__decided_after_the_gate__is_written_apart_from_calls() -> None:
    tenant_id, agent_id = uuid4(), uuid4()
    minute = int(time.time()) // 60
    note_refusal(tenant_id, agent_id)
    note_refusal(tenant_id, agent_id)

    check_gate([GateCommand(uuid4())])
    assert read_call_counts(tenant_id, [minute, minute + 1]) == [{}, {}]
    assert (write_refusals(), write_refusals()) == (2, 0)

    counts = read_call_counts(tenant_id, [minute, minute + 1])
    assert sum(count.refusals for by_agent in counts for count in by_agent.values()) == 2


def test_refusal_notes__full__keep_counting_whom_they_know() -> None:
    notes, tenant_id = RefusalNotes(most=2), uuid4()
    for number in (1, 2, 3, 1):
        notes.add(tenant_id, UUID(int=number), minute=5)

    assert notes.take() == {(tenant_id, 5, UUID(int=1)): 2, (tenant_id, 5, UUID(int=2)): 1}
    assert notes.take() == {}


def test_check_gate__script_unknown_to_the_server__is_taught_and_counts_once(server: OwnValkey) -> None:
    command = GateCommand(uuid4(), limits=(a_limit(),))
    check_gate([command], now=T0)
    with server.client() as client:
        client.script_flush()

    [first, second] = check_gate([command, command], now=T0)

    assert [first.states[0].remaining, second.states[0].remaining] == [3, 2]


def test_check_gate__server_away_and_back__says_so_and_recovers(settings: Settings) -> None:
    tenant_id, agent_id = uuid4(), uuid4()
    command = GateCommand(tenant_id, (EpochKey("tenant", tenant_id),), agent_id)
    with OwnValkey() as own:
        settings.REDIS_URL = own.url
        publish_epochs([(tenant_id, command.epoch_keys[0], 4)])
        assert check_gate([command])[0].epochs == (4,)
        own.keep()
        own.stop()
        note_refusal(tenant_id, agent_id)
        with pytest.raises(redis.RedisError):
            write_refusals()
        with pytest.raises(GateUnavailable):
            check_gate([command])
        own.start()
        with pytest.raises(GateUnavailable, match="a moment ago"):
            check_gate([command])
        time.sleep(0.6)
        # The copy that the server began with holds 4; nobody knows what it has missed since.
        assert check_gate([command])[0].epochs == (None,)
        assert write_refusals() == 1
        minute = int(time.time()) // 60
        counts = read_call_counts(tenant_id, [minute - 1, minute])
    assert sum(count.refusals for by_agent in counts for count in by_agent.values()) == 1


def test_check_gate__server_replaced_by_an_older_copy_in_mid_flight__is_cold(settings: Settings) -> None:
    tenant_id = uuid4()
    key = EpochKey("license", uuid4())
    command = GateCommand(tenant_id, (key,), versions=(4,))
    with OwnValkey() as own:
        settings.REDIS_URL = own.url
        publish_epochs([(tenant_id, key, 4)])
        assert check_gate([command])[0].stale is False
        own.keep()
        own.stop()
        own.start()

        # The connection breaks and is made anew within this very call, whose keys carry the old run.
        [verdict] = check_gate([command])

        assert (verdict.epochs, verdict.stale) == ((None,), True)


def test_check_gate__flushed__is_cold(server: OwnValkey) -> None:
    tenant_id = uuid4()
    key = EpochKey("key", uuid4())
    publish_epochs([(tenant_id, key, 4)])
    with server.client() as client:
        client.flushall()

    assert check_gate([GateCommand(tenant_id, (key,))])[0].epochs == (None,)


def test_check_gate__nothing_to_check__asks_nobody(settings: Settings) -> None:
    settings.REDIS_URL = "unix:///nowhere"

    assert check_gate([]) == []
