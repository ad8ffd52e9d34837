"""Many threads do random things to the same few balances; afterwards the totals are those of the answers they got.

Which of two commands comes first is nobody's to say here, so the model is a tally: what was acknowledged counts, once,
and nothing else does.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from threading import Lock
from typing import Any

import pytest
from django.db import connection

from tests.property.metering_model.product import Product
from tests.property.metering_model.things import AGENTS, LICENSES, UsageLine, subjects_of

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 6
COMMANDS = int(os.environ.get("MODEL_COMMANDS", "40"))
MOST_CALLS = 40
CALLS_OF_AN_AGENT = 12


@dataclass
class Held:
    """A hold that was granted, and what answers said about it."""

    agent: str
    id: str
    quantity: Decimal
    settled: Decimal = Decimal(0)
    over: list[str] = field(default_factory=list)

    @property
    def left(self) -> Decimal:
        return Decimal(0) if self.over else max(Decimal(0), self.quantity - self.settled)


@dataclass
class Tally:
    """What was acknowledged, by all threads."""

    lock: Lock = field(default_factory=Lock)
    counted: list[tuple[str, UsageLine]] = field(default_factory=list)
    sent: list[tuple[str, str, UsageLine]] = field(default_factory=list)
    recorded: dict[tuple[str, str], tuple[str, UsageLine]] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)
    voided: set[tuple[str, str]] = field(default_factory=set)
    topped_up: int = 0
    holds: list[Held] = field(default_factory=list)

    def used(self, meter: str, scope: str, subject: str) -> Decimal:
        stands = [pair for id, pair in self.recorded.items() if id not in self.voided]
        return sum(
            (
                line.quantity
                for agent, line in (*self.counted, *stands)
                if line.meter == meter and subject in subjects_of(agent, scope)
            ),
            Decimal(0),
        )

    def held(self, scope: str, subject: str) -> Decimal:
        return sum((hold.left for hold in self.holds if subject in subjects_of(hold.agent, scope)), Decimal(0))


class Somebody:
    """One thread: a chance of its own, and the tally of all."""

    def __init__(self, product: Product, tally: Tally, quota: str, number: int) -> None:
        self.product, self.tally, self.quota, self.number = product, tally, quota, number
        self.chance = random.Random(number)
        self.made = 0

    def run(self) -> None:
        commands: list[Callable[[], None]] = [self.record, self.record, self.consume, self.hold, self.settle]
        commands += [self.repeat, self.part, self.release, self.change_limit, self.void, self.top_up]
        try:
            for _ in range(COMMANDS):
                self.chance.choice(commands)()
        finally:
            connection.close()

    def record(self) -> None:
        events = [(self._id(), self._tokens()) for _ in range(self.chance.randint(1, 3))]
        agent = self._agent()
        with self.tally.lock:
            # Known to others before it is sent: they may be quicker to send it.
            self.tally.sent += [(agent, *event) for event in events]
        self._record(agent, events)

    def repeat(self) -> None:
        with self.tally.lock:
            sent = list(self.tally.sent)
        if sent:
            agent, id, line = self.chance.choice(sent[-12:])
            self._record(agent, [(id, line)])

    def _record(self, agent: str, events: Sequence[tuple[str, UsageLine]]) -> None:
        answer = self.product.record(agent, [(id, line, None) for id, line in events])
        assert set(answer) <= {"recorded", "duplicate"}
        with self.tally.lock:
            for (id, line), status in zip(events, answer, strict=True):
                if status == "recorded":
                    self.tally.twice += [id] if (AGENTS[agent][0], id) in self.tally.recorded else []
                    self.tally.recorded[AGENTS[agent][0], id] = agent, line

    def consume(self) -> None:
        agent, line = self._agent(), UsageLine("calls", Decimal(1))
        verdict, _, _ = self.product.ask(agent, self._id(), "consume", [line])
        assert verdict in ("allowed", "refused")
        if verdict == "allowed":
            with self.tally.lock:
                self.tally.counted.append((agent, line))

    def hold(self) -> None:
        agent, line = self._agent(), self._tokens()
        verdict, _, id = self.product.ask(agent, self._id(), "hold", [line], ttl=3600, on_excess="count")
        assert verdict == "allowed"
        assert id is not None
        with self.tally.lock:
            self.tally.holds.append(Held(agent, id, line.quantity))

    def settle(self) -> None:
        self._settle(None)

    def part(self) -> None:
        self._settle(self._id())

    def _settle(self, part: str | None) -> None:
        hold, line = self._hold(), self._tokens()
        if hold is None:
            return
        answer = self.product.settle(hold.agent, hold.id, [line], part, part is None)
        assert answer in ("settled", "replayed", "hold_settled", "hold_released"), answer
        if answer == "settled":
            with self.tally.lock:
                self.tally.counted.append((hold.agent, line))
                hold.settled += line.quantity
                if part is None:
                    hold.over.append("settled")

    def release(self) -> None:
        hold = self._hold()
        if hold is None:
            return
        answer = self.product.release(hold.agent, hold.id)
        assert answer in ("released", "hold_settled"), answer
        if answer == "released":
            with self.tally.lock:
                hold.over.append("released")

    def change_limit(self) -> None:
        limit = self.chance.randint(MOST_CALLS // 2, MOST_CALLS)
        self.product.vendor("PATCH", f"/quotas/{self.quota}", {"limit": str(limit)})

    def void(self) -> None:
        with self.tally.lock:
            known = list(self.tally.recorded)[-5:]
        if known:
            license, id = self.chance.choice(known)
            self.product.void(license, id)
            with self.tally.lock:
                self.tally.voided.add((license, id))

    def top_up(self) -> None:
        if self.chance.random() < 0.3:
            self.product.vendor("POST", "/top-ups", {"quota": self.quota, "on": {"tenant": True}, "amount": "1"})
            with self.tally.lock:
                self.tally.topped_up += 1

    def _hold(self) -> Held | None:
        with self.tally.lock:
            return self.chance.choice(self.tally.holds[-5:]) if self.tally.holds else None

    def _agent(self) -> str:
        return self.chance.choice(sorted(AGENTS))

    def _tokens(self) -> UsageLine:
        return UsageLine("tokens", Decimal(self.chance.choice(["0.25", "1", "3", "12.000000000001"])))

    def _id(self) -> str:
        self.made += 1
        return f"{self.number}-{self.made}"


def test_metering__many_threads_at_the_same_balances__totals_are_those_of_the_answers() -> None:
    product = Product("UTC", {"pro": {"quotas": _plan_quotas()}})
    limited = product.vendor("POST", "/quotas", _quota({"tenant": True}, "calls", MOST_CALLS, "hard"))["id"]
    product.vendor("POST", "/quotas", _quota({"tenant": True}, "tokens", 0, "soft"))
    tally = Tally()
    crew = [Somebody(product, tally, limited, number) for number in range(THREADS)]

    with ThreadPoolExecutor(THREADS + 1) as pool:
        working = [pool.submit(each.run) for each in crew]
        while any(not each.done() for each in working):
            pool.submit(_work, product).result()
        for each in working:
            each.result()

    assert tally.twice == []
    assert tally.recorded.keys() == {(AGENTS[agent][0], id) for agent, id, _ in tally.sent}
    assert all(len([each for each in hold.over if each == "settled"]) <= 1 for hold in tally.holds)
    assert all({"settled", "released"} > set(hold.over) for hold in tally.holds)
    assert tally.used("calls", "tenant", "all") <= MOST_CALLS + tally.topped_up
    for agent in AGENTS:
        assert tally.used("calls", "agent", agent) <= CALLS_OF_AN_AGENT
        assert _balances(product, agent) == _expected(tally, agent)
    product.roll_up()
    product.accrue()
    assert product.usage("tokens", "license") == {name: tally.used("tokens", "license", name) for name in LICENSES}
    assert product.differences() == []


def _work(product: Product) -> None:
    """What workers do meanwhile."""
    try:
        product.roll_up()
        product.accrue()
        product.expire()
    finally:
        connection.close()


def _plan_quotas() -> list[dict[str, Any]]:
    return [
        {"meter": "calls", "scope": "agent", "limit": str(CALLS_OF_AN_AGENT), "period": "lifetime", "mode": "hard"},
        *(
            {"meter": "tokens", "scope": scope, "limit": "50", "period": "lifetime", "mode": "soft"}
            for scope in ("agent", "license", "customer")
        ),
    ]


def _quota(on: dict[str, Any], meter: str, limit: int, mode: str) -> dict[str, Any]:
    return {"on": on, "meter": meter, "limit": str(limit), "period": "lifetime", "mode": mode}


def _balances(product: Product, agent: str) -> list[tuple[Any, ...]]:
    """(scope, meter, used, held) of every quota of an agent."""
    return sorted((row[0], row[1], row[8], row[9]) for row in product.standing(agent))


def _expected(tally: Tally, agent: str) -> list[tuple[Any, ...]]:
    places = [
        (scope, subject)
        for scope in ("agent", "license", "customer", "tenant")
        for subject in subjects_of(agent, scope)
    ]
    tokens = [(scope, "tokens", tally.used("tokens", scope, who), tally.held(scope, who)) for scope, who in places]
    calls = [
        (scope, "calls", tally.used("calls", scope, who), Decimal(0))
        for scope, who in places
        if scope in ("agent", "tenant")
    ]
    return sorted([*tokens, *calls])
