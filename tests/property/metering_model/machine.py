"""Steps that vendors, agents, workers and bad luck take in any order, each done to the product and to the model."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.property.metering_model.bills import Ledger
from tests.property.metering_model.faults import Fault
from tests.property.metering_model.product import Product
from tests.property.metering_model.things import AGENTS, LICENSES, Counting, Hold, Quota, TopUp, UsageLine

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

agents = st.sampled_from(sorted(AGENTS))
picks = st.integers(0, 99)
quantities = st.sampled_from([Decimal(text) for text in ("0", "0.000000000001", "1", "2.5", "3", "7", "12", "40")])
limits = st.sampled_from([Decimal(text) for text in ("0", "3", "10", "10.5", "30", "100")])
dimensions = st.sampled_from([(), (("model", "large"),), (("model", "small"),)])
tokens = st.builds(UsageLine, st.just("tokens"), quantities, dimensions)
calls = st.builds(UsageLine, st.just("calls"), st.just(Decimal(1)), dimensions)
lines = st.one_of(tokens, tokens, calls)
asked = st.one_of(lines.map(lambda line: [line]), st.tuples(tokens, calls).map(list))
# Off the ten-minute grid on which the clock goes, so that nothing happens on the edge of a period or of a hold.
ages = st.sampled_from(
    [None, None, 3 * MINUTE, HOUR, 13 * HOUR, 2 * DAY, 5 * DAY, 33 * DAY, 36 * DAY, -2 * MINUTE, -HOUR]
)
ttls = st.sampled_from([330, 930, 3930, 90_330])
scopes = st.sampled_from(["agent", "license", "customer", "tenant"])
periods = st.sampled_from(["hour", "day", "week", "month", "year", "lifetime"])
filters = st.sampled_from([(), (), (("model", "large"),)])


def tiers(*rows: tuple[str | None, str, str]) -> list[dict[str, Any]]:
    return [{"up_to": up_to, "unit_price": each, "flat_fee": flat} for up_to, each, flat in rows]


prices = st.sampled_from(
    [
        {"model": "per_unit", "unit_price": "0.333333"},
        {"model": "per_unit", "unit_price": "0.005", "minimum": "1.00", "included_units": "2"},
        {"model": "per_unit", "unit_price": "3", "maximum": "20.01"},
        {"model": "package", "package_size": "5", "package_price": "1.25", "included_units": "1"},
        {"model": "graduated", "tiers": tiers(("2", "1", "0"), ("10", "0.5", "3"), (None, "0.125", "0"))},
        {"model": "volume", "tiers": tiers(("2", "1", "0"), ("10", "0.5", "3"), (None, "0.125", "0"))},
    ]
)
terms = st.fixed_dictionaries({"limit": limits, "price": st.one_of(st.none(), prices), "mode": st.just("soft")})


class MeteringMachine(RuleBasedStateMachine):
    """Product and model side by side."""

    product: Product
    book: Ledger

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, str, UsageLine, datetime | None]] = []
        self.asks: list[tuple[str, str, str, list[UsageLine], dict[str, Any]]] = []
        self.number = 0

    def teardown(self) -> None:
        if hasattr(self, "product"):
            try:
                self.rest()
            finally:
                self.product.forget()

    @initialize(zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]), pro=terms, team=terms, calls=limits)
    def begin(self, zone: str, pro: dict[str, Any], team: dict[str, Any], calls: Decimal) -> None:
        self.book = Ledger(ZoneInfo(zone), dict.fromkeys(LICENSES, "pro"))
        self.book.quotas += [
            Quota(Counting("pro", "license", "tokens", (), "month"), None, pro["limit"], "soft"),
            Quota(Counting("pro", "agent", "calls", (), "day"), None, calls, "hard"),
            Quota(Counting("team", "license", "tokens", (), "month"), None, team["limit"], "soft"),
            Quota(Counting("team", "customer", "calls", (), "month"), None, calls, "hard"),
        ]
        self.book.prices |= {"pro": pro["price"], "team": team["price"]}
        bodies = {plan: self._plan_body(plan) for plan in self.book.prices}
        self.product = Product(zone, {**bodies, "free": {}})

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

    @rule(agent=agents, usage=asked, ttl=ttls, on_excess=st.sampled_from(["count", "cap", "reject"]))
    def hold(self, agent: str, usage: list[UsageLine], ttl: int, on_excess: str) -> None:
        self._ask(agent, self._id(), "hold", usage, {"ttl": ttl, "on_excess": on_excess})

    @precondition(lambda self: self.asks)
    @rule(pick=picks, change=st.sampled_from(["same", "lines", "mode"]))
    def ask_again(self, pick: int, change: str) -> None:
        agent, id, mode, usage, more = self.asks[pick % len(self.asks)]
        if change == "lines":
            usage = [*usage, UsageLine("tokens", Decimal(1))]
        elif change == "mode":
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
    @rule(pick=picks, usage=asked, final=st.booleans(), part=st.integers(0, 3))
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

    # --- the vendor changes terms

    @rule(
        scope=scopes,
        agent=agents,
        meter=st.sampled_from(["tokens", "tokens", "calls"]),
        only=filters,
        limit=limits,
        mode=st.sampled_from(["hard", "soft"]),
        ceiling=st.one_of(st.none(), limits),
        period=periods,
    )
    def add_quota(
        self,
        scope: str,
        agent: str,
        meter: str,
        only: Any,
        limit: Decimal,
        mode: str,
        ceiling: Decimal | None,
        period: str,
    ) -> None:
        owner = {"agent": agent, "license": AGENTS[agent][0], "customer": LICENSES[AGENTS[agent][0]], "tenant": "all"}
        counting = Counting("own", scope, meter, only, period)
        most = None if mode == "hard" or ceiling is None else max(limit, ceiling)
        quota = Quota(counting, owner[scope], limit, mode, most)
        taken = any(each.live and (each.counting, each.owner) == (counting, quota.owner) for each in self.book.quotas)
        body: dict[str, Any] = {
            "on": self._on(scope, owner[scope]),
            "meter": meter,
            "filter": dict(only),
            "limit": str(limit),
            "period": period,
            "mode": mode,
        }
        if most is not None:
            body["ceiling"] = str(most)
        answer = self.product.vendor("POST", "/quotas", body, fails=409 if taken else None)
        if taken:
            assert answer == "quota_exists"
        else:
            quota.id = answer["id"]
            self.book.quotas.append(quota)

    @precondition(lambda self: self._own_quotas())
    @rule(pick=picks, limit=limits)
    def change_limit(self, pick: int, limit: Decimal) -> None:
        quota = self._own_quotas()[pick % len(self._own_quotas())]
        body = {"limit": str(limit)}
        quota.limit = limit
        if quota.ceiling is not None:
            quota.ceiling = max(limit, quota.ceiling)
            body["ceiling"] = str(quota.ceiling)
        self.product.vendor("PATCH", f"/quotas/{quota.id}", body)

    @precondition(lambda self: self._own_quotas())
    @rule(pick=picks)
    def archive_quota(self, pick: int) -> None:
        quota = self._own_quotas()[pick % len(self._own_quotas())]
        quota.live = False
        self.product.vendor("DELETE", f"/quotas/{quota.id}")

    @rule(plan=st.sampled_from(["pro", "team"]), change=terms, calls=limits)
    def change_plan(self, plan: str, change: dict[str, Any], calls: Decimal) -> None:
        for quota in self.book.quotas:
            if quota.counting.origin == plan:
                quota.limit = change["limit"] if quota.counting.meter == "tokens" else calls
        self.book.set_price(plan, change["price"], self.product.now())
        self.product.vendor("PATCH", f"/plans/{plan}", self._plan_body(plan))

    @rule(license=st.sampled_from(sorted(LICENSES)), plan=st.sampled_from(["pro", "team", "free"]))
    def move_to_plan(self, license: str, plan: str) -> None:
        self.book.change_plan(license, plan, self.product.now())
        self.product.vendor("PATCH", f"/licenses/{self.product.licenses[license]}", {"plan": plan})

    def _plan_body(self, plan: str) -> dict[str, Any]:
        price = self.book.prices[plan]
        return {
            "quotas": [
                {
                    "meter": quota.counting.meter,
                    "scope": quota.counting.scope,
                    "limit": str(quota.limit),
                    "period": quota.counting.period,
                    "mode": quota.mode,
                }
                for quota in self.book.quotas
                if quota.counting.origin == plan
            ],
            "prices": [] if price is None else [{"meter": "tokens", "currency": "USD", **price}],
        }

    @precondition(lambda self: self.book.facts_of)
    @rule(pick=picks)
    def void(self, pick: int) -> None:
        license, id = list(self.book.facts_of)[pick % len(self.book.facts_of)]
        self.book.void(license, id)
        self.product.void(license, id)

    def _own_quotas(self) -> list[Quota]:
        return [quota for quota in self.book.quotas if quota.live and quota.counting.origin == "own"]

    def _on(self, scope: str, name: str) -> dict[str, Any]:
        ids = {
            "agent": self.product.agents,
            "license": self.product.licenses,
            "customer": self.product.customers,
            "tenant": {"all": True},
        }
        return {scope: ids[scope][name]}

    @precondition(lambda self: self._can_be_topped_up())
    @rule(
        pick=picks,
        amount=st.sampled_from([Decimal(text) for text in ("0.5", "4", "25")]),
        starts=st.sampled_from([None, None, -DAY, 33 * MINUTE, 2 * DAY + 3 * MINUTE]),
        lasts=st.sampled_from([None, 43 * MINUTE, 26 * HOUR + 3 * MINUTE, 20 * DAY + 3 * MINUTE]),
        priority=st.integers(0, 2),
    )
    def top_up(
        self, pick: int, amount: Decimal, starts: timedelta | None, lasts: timedelta | None, priority: int
    ) -> None:
        quota, subject = self._can_be_topped_up()[pick % len(self._can_be_topped_up())]
        now = self.product.now()
        starts_at = now + (starts or timedelta(0))
        expires_at = None if lasts is None else max(starts_at, now) + lasts
        made = TopUp(quota.counting, subject, amount, starts_at, expires_at, priority)
        body = {
            "quota": quota.id or self.product.quota_of_plan(quota.counting.origin, quota.counting.meter),
            "on": self._on(quota.counting.scope, subject),
            "amount": str(amount),
            "starts_at": None if starts is None else starts_at.isoformat(),
            "expires_at": None if expires_at is None else expires_at.isoformat(),
            "priority": priority,
        }
        made.id = self.product.vendor("POST", "/top-ups", body)["id"]
        self.book.top_ups.append(made)

    @precondition(lambda self: self.book.top_ups)
    @rule(pick=picks)
    def void_top_up(self, pick: int) -> None:
        top_up = self.book.top_ups[pick % len(self.book.top_ups)]
        top_up.is_void = True
        self.product.vendor("POST", f"/top-ups/{top_up.id}/void")

    def _can_be_topped_up(self) -> list[tuple[Quota, str]]:
        """Every quota with everybody whom it holds for, each pair once."""
        found = {
            (id(quota), subject): (quota, subject) for name in AGENTS for quota, subject in self.book.applying(name)
        }
        return list(found.values())

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
        for meter in ("tokens", "calls"):
            for by, name in (("agent", lambda fact: fact.agent), ("customer", lambda fact: LICENSES[fact.license])):
                expected: Counter[str] = Counter()
                for number, fact in enumerate(self.book.facts):
                    if fact.line.meter == meter:
                        expected[name(fact)] += 0 if number in self.book.voided else fact.line.quantity
                assert self.product.usage(meter, by) == dict(expected), (meter, by)
        assert self.product.differences() == []

    def _id(self) -> str:
        self.number += 1
        return f"e{self.number}"
