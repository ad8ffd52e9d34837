"""Many callers at once, through every web process: each id counts once, no hard quota is passed, no event is missed."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from threading import Event
from typing import Any

import pytest

from tests.http_client import Answer, Line, in_parallel, under_load
from tests.live_shop import LiveShop, unique
from tests.stack_fixtures import LiveStack

pytestmark = pytest.mark.stack


def test_usage__same_thousand_ids_from_32_threads_through_both_processes__count_once(live_stack: LiveStack) -> None:
    shop = LiveShop(live_stack)
    agent = shop.ready_agent(
        {"limit": "2000", "scope": "license"},
        {"limit": "100000", "scope": "customer", "mode": "soft"},
        {"limit": "100000", "scope": "agent", "mode": "soft"},
    )
    now = datetime.now(UTC).isoformat()
    # Half of them say when; the others happened when they first arrive, and a retry is still the same payload.
    events = [shop.event(f"call-{n}", 1 + n % 9, **({"occurred_at": now} if n % 2 else {})) for n in range(1000)]
    total = sum(1 + n % 9 for n in range(1000))

    def send_all(number: int, line: Line) -> Counter[str]:
        chance = random.Random(number)
        left = chance.sample(events, len(events))
        seen: Counter[str] = Counter()
        while left:
            size = chance.choice((1, 1, 1, 40, 200))
            part, left = left[:size], left[size:]
            answer = line.agent("POST", "/usage", part[0] if size == 1 else {"events": part})
            assert answer.status == 200, answer
            seen.update(result["status"] for result in answer["results"])
        return seen

    lines = shop.lines(agent, 32)
    with ThreadPoolExecutor(32) as pool:
        seen = sum(pool.map(send_all, range(32), lines), Counter())

    assert seen == {"recorded": 1000, "duplicate": 31_000}
    assert shop.events() == {f"call-{n}": 1 + n % 9 for n in range(1000)}
    assert set(shop.balances().values()) == {(Decimal(total), Decimal(0))}
    for line in lines[:2]:
        quotas = line.agent("POST", "/validate", {})["quotas"]
        assert [(quota["scope"], quota["used"]) for quota in quotas] == [
            ("agent", str(total)),
            ("license", str(total)),
            ("customer", str(total)),
        ]
    used = lines[0].agent("GET", f"/usage?meter={shop.meter}&from=2026-01-01T00:00:00Z")
    assert used["total"] == str(total), used
    shop.verify()


def test_consume__200_at_once_on_a_hard_quota_of_50__exactly_50_are_allowed(live_stack: LiveStack) -> None:
    shop = LiveShop(live_stack)
    agent = shop.ready_agent({"limit": "50", "period": "day"})

    answers = _consume_in_parallel(shop, [agent.key], 200)

    assert sum(answer["allowed"] for answer in answers) == 50
    refused = [answer.json for answer in answers if not answer["allowed"]]
    assert {body["code"] for body in refused} == {"quota_exceeded"}
    assert all((code["remaining"], code["limit"]) == ("0", "50") for body in refused for code in body["codes"])
    assert not any(body["event_ids"] for body in refused)
    assert len(shop.events()) == 50
    shop.verify()


def test_consume__two_quotas_at_different_levels__both_are_exact(live_stack: LiveStack) -> None:
    shop = LiveShop(live_stack)
    license = shop.license(shop.plan({"limit": "25", "period": "day"}))["id"]
    agents = [shop.agent(license) for _ in range(3)]
    for agent in agents:
        shop.quota({"agent": agent.id}, limit="10", period="day")

    answers = _consume_in_parallel(shop, [agent.key for agent in agents], 120)

    allowed = [sum(answer["allowed"] for answer in answers[place::3]) for place in range(3)]
    assert sum(allowed) == 25
    assert max(allowed) <= 10
    balances = shop.balances()
    assert balances[f"license {license}"] == (25, 0)
    assert [balances[f"agent {agent.id}"][0] for agent in agents] == allowed
    assert len(shop.events()) == 25
    shop.verify()


def test_consume__mixed_with_holds__limit_is_never_passed_and_is_reached(live_stack: LiveStack) -> None:
    shop = LiveShop(live_stack)
    license = shop.license(shop.plan({"limit": "60", "period": "day"}))["id"]
    agents = [shop.agent(license) for _ in range(2)]
    for agent in agents:
        shop.quota({"agent": agent.id}, limit="45", period="day")
    over: list[Any] = []
    done = Event()

    def watch() -> int:
        looks = 0
        query = "SELECT scope, used, held FROM metering_balance WHERE tenant_id = %s"
        with live_stack.connect() as connection:
            while not done.is_set():
                for scope, used, held in connection.execute(query, [shop.tenant.id]):
                    if used + held > {"license": 60, "agent": 45}[scope]:
                        over.append((scope, used, held))
                looks += 1
        return looks

    def take(number: int, line: Line) -> tuple[int, int]:
        """(units counted, whether something was refused)"""
        chance = random.Random(number)
        quantity = chance.choice((1, 2, 3))
        if number % 3 == 0:
            answer = line.agent("POST", "/authorize", shop.consume(unique("use"), quantity))
            assert answer.status == 200, answer
            return (quantity if answer["allowed"] else 0, not answer["allowed"])
        answer = line.agent("POST", "/authorize", shop.consume(unique("hold"), quantity, mode="hold", ttl=300))
        assert answer.status == 200, answer
        if not answer["allowed"]:
            return 0, 1
        hold = answer["hold"]["id"]
        if number % 3 == 1:
            assert line.agent("POST", f"/holds/{hold}/release").status == 200
            return 0, 0
        used = {"usage": [{"meter": shop.meter, "quantity": str(quantity - 1)}]}
        assert line.agent("POST", f"/holds/{hold}/settle", used).status == 200
        return quantity - 1, 0

    lines = [line for agent in agents for line in shop.lines(agent, 8)]
    with ThreadPoolExecutor(17) as pool:
        watching = pool.submit(watch)
        results = [each for part in range(10) for each in pool.map(take, range(part * 16, part * 16 + 16), lines)]
        # What is left after all holds were settled or released goes unit by unit.
        while lines[0].agent("POST", "/authorize", shop.consume(unique("last")))["allowed"]:
            results.append((1, 0))
        while lines[-1].agent("POST", "/authorize", shop.consume(unique("last")))["allowed"]:
            results.append((1, 0))
        done.set()
        assert watching.result() > 20

    assert over == []
    assert any(refused for _, refused in results)
    assert sum(counted for counted, _ in results) == 60
    balances = shop.balances()
    assert balances[f"license {license}"] == (60, 0)
    assert sum(balances[f"agent {agent.id}"][0] for agent in agents) == 60
    assert {held for _, held in balances.values()} == {0}
    shop.verify()


def test_quota__created_in_the_middle_of_a_load__misses_no_event(live_stack: LiveStack) -> None:
    shop = LiveShop(live_stack)
    license = shop.license(shop.plan())
    agent = shop.agent(license["id"])
    other = shop.agent(license["id"])
    targets = [{"tenant": True}, {"customer": license["customer"]}, {"license": license["id"]}, {"agent": agent.id}]

    def send(line: Line) -> tuple[str, int]:
        ids = [unique("event") for _ in range(random.randint(1, 4))]
        if len(ids) == 1:
            answer = line.agent("POST", "/authorize", shop.consume(ids[0]))
            assert answer["allowed"], answer
        else:
            answer = line.agent("POST", "/usage", {"events": [shop.event(id) for id in ids]})
            assert answer["recorded"] == len(ids), answer
        return str(line.key), len(ids)

    with under_load([*shop.lines(agent, 8), *shop.lines(other, 8)], send) as load:
        for on in targets:
            load.wait_for_rounds(2)
            shop.quota(on, limit="1000000")
        load.wait_for_rounds(2)

    sent: Counter[str] = Counter()
    for key, count in load.results:
        sent[key] += count
    assert len(shop.events()) == sent.total()
    assert shop.balances() == {
        "tenant": (sent.total(), 0),
        f"customer {license['customer']}": (sent.total(), 0),
        f"license {license['id']}": (sent.total(), 0),
        f"agent {agent.id}": (sent[agent.key], 0),
    }
    shop.verify()


def _consume_in_parallel(shop: LiveShop, keys: list[str], count: int) -> list[Answer]:
    """One unit each, the agents in turn, in 32 threads on connections that the kernel spreads."""

    def consume(number: int) -> Answer:
        line = Line(shop.stack, key=keys[number % len(keys)])
        try:
            answer = line.agent("POST", "/authorize", shop.consume(unique("step")))
        finally:
            line.close()
        assert answer.status == 200, answer
        return answer

    return in_parallel([lambda number=number: consume(number) for number in range(count)])  # type: ignore[misc]
