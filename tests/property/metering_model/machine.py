"""Steps that vendors, agents, workers and bad luck take in any order, each done to the product and to the model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from tests.property.metering_model.arriving import Arriving
from tests.property.metering_model.bills import Ledger
from tests.property.metering_model.faults import Fault
from tests.property.metering_model.product import Product, licenses_began
from tests.property.metering_model.steps import (
    DAY,
    HOUR,
    MINUTE,
    agents,
    ages,
    asked,
    held,
    limits,
    lines,
    own_quotas,
    picks,
    terms,
    ttls,
)
from tests.property.metering_model.things import (
    ADDING_UP,
    AGENTS,
    AGGREGATIONS,
    LICENSES,
    Counting,
    Hold,
    Quota,
    UsageLine,
)


class MeteringMachine(Arriving):
    """Product and model side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.asks: list[tuple[str, str, str, list[UsageLine], dict[str, Any]]] = []

    def teardown(self) -> None:
        if hasattr(self, "product"):
            try:
                self.rest()
            finally:
                self.product.forget()

    @initialize(
        zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
        pro=terms,
        team=terms,
        calls=limits,
        quotas=st.lists(own_quotas, min_size=2, max_size=4),
    )
    def begin(
        self,
        zone: str,
        pro: dict[str, Any],
        team: dict[str, Any],
        calls: Decimal,
        quotas: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.book = Ledger(ZoneInfo(zone), dict.fromkeys(LICENSES, "pro"), licenses_began())
        self.book.quotas += [
            Quota(Counting("pro", "license", "tokens", (), "month"), None, pro["limit"], "soft"),
            Quota(Counting("pro", "agent", "calls", (), "day"), None, calls, "hard"),
            Quota(Counting("team", "license", "tokens", (), "month"), None, team["limit"], "soft"),
            Quota(Counting("team", "customer", "calls", (), "month"), None, calls, "hard"),
        ]
        self.book.prices |= {"pro": pro["price"], "team": team["price"]}
        bodies = {plan: self._plan_body(plan) for plan in self.book.prices}
        self.product = Product(zone, {**bodies, "free": {}}, self.book.card)
        for quota in quotas:
            self.add_quota(**quota)

    # --- agents use

    @rule(agent=agents, events=st.lists(st.tuples(lines, ages), min_size=1, max_size=4))
    def record(self, agent: str, events: list[tuple[UsageLine, timedelta | None]]) -> None:
        now = self.product.now()
        sent = [(self._id(), line, None if age is None else now - age) for line, age in events]
        self._record(agent, sent, now)
        self.sent += [(agent, *each) for each in sent]

    @precondition(lambda self: self.sent)
    @rule(pick=picks, change=st.sampled_from(["same", "undated", "quantity", "time", "twice"]))
    def record_again(self, pick: int, change: str) -> None:
        agent, id, line, at = self.sent[pick % len(self.sent)]
        now = self.product.now()
        match change:
            case "undated":
                at = None
            case "quantity":
                line = (
                    line._replace(quantity=line.quantity + 1)
                    if line.meter == "tokens"
                    else line._replace(dimensions=(("model", "other"),))
                )
            case "time":
                at = now - 7 * HOUR
        self._record(agent, [(id, line, at)] * (2 if change == "twice" else 1), now)

    def _record(self, agent: str, sent: list[tuple[str, UsageLine, datetime | None]], now: datetime) -> None:
        expected = self.book.record(agent, sent, now)
        answer = self.product.record(agent, sent)
        if self.product.struck:
            # What was lost on the way may have been counted: then the retry is the duplicate.
            answer = [
                "recorded" if (was, then) == ("duplicate", "recorded") else was
                for was, then in zip(answer, expected, strict=True)
            ]
        assert answer == expected

    @rule(agent=agents, usage=asked)
    def consume(self, agent: str, usage: list[UsageLine]) -> None:
        self._ask(agent, self._id(), "consume", usage, {})

    @rule(agent=agents, usage=held, ttl=ttls, on_excess=st.sampled_from(["count", "cap", "reject"]))
    def hold(self, agent: str, usage: list[UsageLine], ttl: int, on_excess: str) -> None:
        self._ask(agent, self._id(), "hold", usage, {"ttl": ttl, "on_excess": on_excess})

    @precondition(lambda self: self.asks)
    @rule(pick=picks, change=st.sampled_from(["same", "lines", "mode"]))
    def ask_again(self, pick: int, change: str) -> None:
        agent, id, mode, usage, more = self.asks[pick % len(self.asks)]
        if change == "lines":
            usage = [*usage, UsageLine("tokens", Decimal(1))]
        elif change == "mode" and all(line.meter in ADDING_UP for line in usage):
            mode, more = ("consume", {}) if mode == "hold" else ("hold", {"ttl": 330, "on_excess": "count"})
        self._ask(agent, id, mode, usage, more)

    def _ask(self, agent: str, id: str, mode: str, usage: list[UsageLine], more: dict[str, Any]) -> None:
        now = self.product.now()
        expected, refused = self.book.ask(agent, id, mode, usage, now, **more)
        answer, codes, hold = self.product.ask(agent, id, mode, usage, **more)
        if self.product.struck and (answer, expected) == ("replayed", "allowed"):
            answer = expected
        assert (answer, codes) == (expected, refused)
        self.asks.append((agent, id, mode, usage, more))
        if hold is not None and expected == "allowed":
            self.book.holds[-1].id = hold

    # --- what becomes of holds

    @precondition(lambda self: self.book.holds)
    @rule(pick=picks, usage=held, final=st.booleans(), part=st.integers(0, 3))
    def settle(self, pick: int, usage: list[UsageLine], final: bool, part: int) -> None:
        hold = self._hold(pick)
        usage = [line._replace(dimensions=()) for line in usage]
        id = None if final else f"part-{part}"
        expected = self.book.settle(hold, usage, id, final, self.product.now())
        answer = self.product.settle(hold.agent, hold.id, usage, id, final)
        if self.product.struck and (answer, expected) == ("replayed", "settled"):
            answer = expected
        assert answer == expected

    @precondition(lambda self: self.book.holds)
    @rule(pick=picks)
    def release(self, pick: int) -> None:
        hold = self._hold(pick)
        expected = self.book.release(hold, self.product.now())
        assert self.product.release(hold.agent, hold.id) == expected

    @precondition(lambda self: self.book.holds)
    @rule(pick=picks, ttl=ttls)
    def extend(self, pick: int, ttl: int) -> None:
        hold = self._hold(pick)
        expected = self.book.extend(hold, ttl, self.product.now())
        assert self.product.extend(hold.agent, hold.id, ttl) == expected

    def _hold(self, pick: int) -> Hold:
        return self.book.holds[pick % len(self.book.holds)]

    # --- time, workers and bad luck

    @rule(by=st.sampled_from([10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 9 * HOUR, DAY, 4 * DAY, 12 * DAY]))
    def wait(self, by: timedelta) -> None:
        self.product.move(by)

    @rule()
    def expire_holds(self) -> None:
        self.product.expire()
        self.book.expire(self.product.now())

    @rule()
    def close_periods(self) -> None:
        self.product.close()
        self.book.close(self.product.now())

    @rule()
    def roll_up(self) -> None:
        self.product.roll_up()

    @rule(statement=st.integers(1, 8), after=st.booleans())
    def lose_a_connection(self, statement: int, after: bool) -> None:
        """The next command of an agent or a worker meets it."""
        self.product.fault = Fault(statement, after)

    # --- and they agree

    @invariant()
    def balances_agree(self) -> None:
        if hasattr(self, "product"):
            now = self.product.now()
            for agent in AGENTS:
                assert self.product.standing(agent) == self.book.standing(agent, now), agent

    @rule()
    def rest(self) -> None:
        self.product.fault = None
        self.product.roll_up()
        self.product.accrue()
        assert sorted(self.product.bills()) == sorted([*self.book.bills, *self.book.open_bills()])
        for meter in AGGREGATIONS:
            for by, name in (("agent", lambda fact: fact.agent), ("customer", lambda fact: LICENSES[fact.license])):
                assert self.product.usage(meter, by) == self.book.usage(meter, name), (meter, by)
        assert self.product.differences() == []
