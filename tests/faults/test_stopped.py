"""Stores that stand still (SIGSTOP), which is worse than dead: nobody hangs, and what is answered is right."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psutil
import pytest

from tests.faults.revocations import REVOCATIONS
from tests.faults.steady_load import SteadyLoad
from tests.http_client import Answer, Line, in_parallel, under_load, until
from tests.live_shop import LiveShop, unique
from tests.stack_fixtures import LiveStack

pytestmark = pytest.mark.stack


@contextmanager
def stopped(stack: LiveStack, name: str) -> Iterator[None]:
    """The whole server stands still within the block; afterwards it is as if nothing had been."""
    server = psutil.Process(stack.pid(name))
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        _signal(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            _signal(process.pid, signal.SIGCONT)
        stack.wait_until_ready()


def _signal(pid: int, number: signal.Signals) -> None:
    # A backend may have ended by itself meanwhile.
    if psutil.pid_exists(pid):
        os.kill(pid, number)


def test_valkey__stopped_under_load__calls_go_on_and_hard_quotas_hold(hurt_stack: LiveStack) -> None:
    shop = LiveShop(hurt_stack)
    agent = shop.ready_agent({"limit": "150"})

    def consume(line: Line) -> tuple[int, bool]:
        answer = line.agent("POST", "/authorize", shop.consume(unique("step")))
        return answer.status, answer.status == 200 and answer["allowed"]

    with under_load(shop.lines(agent, 8), consume) as load:
        load.wait_for_rounds(2)
        with stopped(hurt_stack, "valkey"):
            load.wait_for_rounds(8)
        until(lambda: sum(allowed for _, allowed in load.results) >= 150)
        load.wait_for_rounds(2)

    assert {status for status, _ in load.results} == {200}
    assert sum(allowed for _, allowed in load.results) == 150
    assert set(shop.balances().values()) == {(150, 0)}
    shop.verify()


def test_valkey__killed_under_load__calls_go_on(hurt_stack: LiveStack) -> None:
    steady = SteadyLoad(LiveShop(hurt_stack))

    with under_load(steady.lines(), steady.send_something) as load:
        load.wait_for_rounds(2)
        gone = hurt_stack.kill("valkey")
        hurt_stack.wait_until_ready(name="valkey", other_than=gone)
        load.wait_for_rounds(2)

    assert not steady.troubles
    steady.check()


def test_valkey__stopped__each_process_limits_rates_to_its_share(hurt_stack: LiveStack) -> None:
    shop = LiveShop(hurt_stack)
    # Refills by one in three minutes, so that none comes back while the test runs.
    agent = shop.ready_agent(rate_limits=[{"level": "agent", "limit": 20, "window": 3600}])
    lines = shop.lines(agent, 2)

    with stopped(hurt_stack, "valkey"):
        answers = [[line.agent("POST", "/validate", {}) for _ in range(14)] for line in lines]

    for of_process in answers:
        assert [answer.status for answer in of_process] == [200] * 10 + [429] * 4
        assert of_process[-1].code == "rate_limited"
        assert int(of_process[-1].headers["retry-after"]) > 100
        assert {"ratelimit", "ratelimit-policy"} <= of_process[0].headers.keys()


@pytest.mark.parametrize("revocation", ["agent revoked", "agent key revoked", "licence revoked", "customer suspended"])
def test_revocation__valkey_stopped__is_pending_but_in_force_and_200_once_it_is_back(
    hurt_stack: LiveStack, revocation: str
) -> None:
    victim = REVOCATIONS[revocation](LiveShop(hurt_stack))
    lines = victim.lines(4)
    for line in lines:
        assert all(answer.says_yes for answer in victim.ask_all(line))

    with stopped(hurt_stack, "valkey"):
        pending = victim.revoke()
        assert pending is not None
        assert (pending.status, pending.code) == (503, "revocation_pending")
        meanwhile = [answer for line in lines for answer in victim.ask_all(line)]
        again = victim.revoke()
        assert again is not None
        assert (again.status, again.code) == (503, "revocation_pending")

    assert not any(answer.says_yes for answer in meanwhile)
    assert {answer.status for answer in meanwhile} <= {200, 401}
    victim.revoke_until_told()
    assert not any(answer.says_yes for line in lines for answer in victim.ask_all(line))


def test_postgres__stopped_under_load__nobody_hangs_and_nothing_is_lost(hurt_stack: LiveStack) -> None:
    steady = SteadyLoad(LiveShop(hurt_stack))

    with under_load(steady.lines(), steady.send_something) as load:
        load.wait_for_rounds(2)
        with stopped(hurt_stack, "postgres"):
            # Everybody is told to come back while it still stands still.
            until(lambda: steady.troubles.total() >= 8)
        load.wait_for_rounds(2)

    assert "no answer" not in steady.troubles
    steady.check()


def test_postgres__stopped__both_doors_and_readyz_answer_503(hurt_stack: LiveStack) -> None:
    shop = LiveShop(hurt_stack)
    agent = shop.ready_agent({"limit": "5"})
    asks = [
        ("POST", "/agent/v1/validate", agent.key),
        ("GET", "/agent/v1/quotas", agent.key),
        ("GET", "/vendor/v1/licenses", shop.key),
        ("POST", "/vendor/v1/products", shop.key),
        ("GET", "/readyz", ""),
    ]

    def ask(method: str, path: str, key: str) -> Answer:
        return Line(hurt_stack, key=key).call(method, path, {} if method == "POST" else None)

    with stopped(hurt_stack, "postgres"):
        answers = in_parallel([partial(ask, *each) for each in asks])
        alive = Line(hurt_stack).call("GET", "/livez")

    assert Counter((answer.status, answer.code) for answer in answers) == {(503, "store_unreachable"): len(asks)}
    assert alive.status == 200
