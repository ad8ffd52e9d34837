"""`kill -9` in the middle of a load: nothing acknowledged is lost, each id counts once, and it goes on by itself."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.steady_load import SteadyLoad
from tests.http_client import under_load, until
from tests.live_shop import LiveShop
from tests.stack_fixtures import LiveStack

pytestmark = pytest.mark.stack


def test_web_process__killed_under_load__loses_nothing_and_is_replaced(hurt_stack: LiveStack) -> None:
    steady = SteadyLoad(LiveShop(hurt_stack))

    with under_load(steady.lines(), steady.send_something) as load:
        load.wait_for_rounds(2)
        gone = hurt_stack.kill("web-process")
        until(lambda: gone not in (pids := hurt_stack.pids("web-process")) and len(pids) == 2)
        load.wait_for_rounds(2)

    assert steady.troubles.keys() <= {"no answer"}
    assert steady.troubles, "nobody noticed: the kill came when nothing was under way"
    steady.check()


def test_web__asked_to_end_under_load__answers_what_it_took_in_and_is_replaced(hurt_stack: LiveStack) -> None:
    steady = SteadyLoad(LiveShop(hurt_stack))

    with under_load(steady.lines(), steady.send_something) as load:
        load.wait_for_rounds(2)
        web = hurt_stack.pid("web")
        os.kill(web, signal.SIGTERM)
        hurt_stack.wait_until_ready(name="web", other_than=web)
        load.wait_for_rounds(2)

    # Nobody accepts connections for a moment; whoever was inside was answered.
    assert steady.troubles.keys() <= {"no answer"}
    steady.check()


def test_worker__killed_under_load__nobody_notices_and_work_goes_on(hurt_stack: LiveStack) -> None:
    steady = SteadyLoad(LiveShop(hurt_stack))

    with under_load(steady.lines(), steady.send_something) as load:
        load.wait_for_rounds(2)
        gone = hurt_stack.kill("worker")
        hurt_stack.wait_until_ready(name="worker", other_than=gone)
        load.wait_for_rounds(2)
    shop = LiveShop(hurt_stack)

    assert not steady.troubles
    steady.check()
    sealed = "SELECT count(*) FROM tenants_auditseal WHERE tenant_id = %s"
    written = "SELECT count(*) FROM tenants_auditentry WHERE tenant_id = %s"
    until(lambda: shop.rows(sealed) == shop.rows(written) != [(0,)])


def test_postgres__killed_under_load__loses_nothing_and_callers_are_told_to_come_back(hurt_stack: LiveStack) -> None:
    steady = SteadyLoad(LiveShop(hurt_stack))
    supervisor = hurt_stack.pid("supervisor")
    web = set(hurt_stack.pids("web-process"))

    with under_load(steady.lines(), steady.send_something) as load:
        load.wait_for_rounds(3)
        gone = hurt_stack.kill("postgres")
        hurt_stack.wait_until_ready(name="postgres", other_than=gone)
        load.wait_for_rounds(3)

    assert "no answer" not in steady.troubles
    steady.check()
    assert hurt_stack.pid("supervisor") == supervisor
    assert set(hurt_stack.pids("web-process")) == web


def test_vendors_door__postgres_killed__is_503_and_the_same_idempotency_key_can_be_sent_again(
    hurt_stack: LiveStack,
) -> None:
    shop = LiveShop(hurt_stack)
    body = {"external_id": "acme", "name": "Acme"}
    key = {"Idempotency-Key": "make-acme"}
    troubles = set()

    gone = hurt_stack.kill("postgres")
    while (answer := shop.call("POST", "/customers", body, headers=key)).status != 201:
        troubles.add((answer.status, answer.code))
    hurt_stack.wait_until_ready(name="postgres", other_than=gone)

    assert troubles <= {(503, "store_unreachable"), (503, "outcome_unknown"), (409, "idempotency_in_progress")}
    again = shop.call("POST", "/customers", body, headers=key)
    assert (again.status, again["id"], again.headers["idempotency-replayed"]) == (201, answer["id"], "true")
    # Connections that the dead server has left in the pools cost nobody anything.
    lists = [shop.call("GET", "/customers") for _ in range(20)]
    assert {(answer.status, len(answer["data"])) for answer in lists} == {(200, 1)}
