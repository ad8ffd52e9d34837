"""What vendors do: quotas, limits, plans, prices, rate cards, top-ups, voids."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.property.metering_model.bills import Ledger
from tests.property.metering_model.product import Product, rows_of
from tests.property.metering_model.steps import (
    DAY,
    HOUR,
    MINUTE,
    cards,
    changes,
    limits,
    own_quotas,
    picks,
    terms,
)
from tests.property.metering_model.things import ADDING_UP, AGENTS, AGGREGATIONS, LICENSES, Counting, Quota, TopUp


class Selling(RuleBasedStateMachine):
    """Product and model side by side, as a vendor has them."""

    product: Product
    book: Ledger

    @rule(quota=own_quotas)
    def add_a_quota(self, quota: dict[str, Any]) -> None:
        self.add_quota(**quota)

    def add_quota(
        self,
        scope: str,
        agent: str,
        meter: str,
        only: Any,
        limit: Decimal,
        mode: str,
        ceiling: Decimal | None,
        period: str | int,
        anchored: bool = False,
        carry: Decimal | str | None = None,
    ) -> None:
        owner = {"agent": agent, "license": AGENTS[agent][0], "customer": LICENSES[AGENTS[agent][0]], "tenant": "all"}
        if isinstance(period, int):
            if meter not in ADDING_UP:
                return
            mode, anchored = "hard", False
        if scope not in ("agent", "license") or period == "lifetime":
            anchored = False
        if isinstance(period, int) or period == "lifetime" or AGGREGATIONS[meter] in ("max", "latest"):
            carry = None
        counting = Counting("own", scope, meter, only, period, anchored)
        same = [each for each in self.book.quotas if (each.counting, each.owner) == (counting, owner[scope])]
        if same and (carry is not None or any(each.carries for each in same)):
            return
        most = None if mode == "hard" or ceiling is None else max(limit, ceiling)
        quota = Quota(counting, owner[scope], limit, mode, most)
        quota.carries, quota.since = carry is not None, self.product.now()
        quota.carry_most = carry if isinstance(carry, Decimal) else None
        taken = any(each.live for each in same)
        body: dict[str, Any] = {
            "on": self._on(scope, owner[scope]),
            "meter": meter,
            "filter": dict(only),
            "limit": str(limit),
            "period": {"rolling": period} if isinstance(period, int) else period,
            "mode": mode,
            "anchor": "license" if anchored else "calendar",
        }
        if carry is not None:
            body["carry_over"] = True if carry == "all" else {"max": str(carry)}
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
        self.book.void(license, id, self.product.now())
        self.product.void(license, id)

    @precondition(lambda self: self.book.facts_of)
    @rule(pick=picks, change=changes, number=st.integers(0, 9))
    def adjust(self, pick: int, change: Decimal, number: int) -> None:
        license, corrects = list(self.book.facts_of)[pick % len(self.book.facts_of)]
        meters = [self.book.facts[each].line.meter for each in self.book.facts_of[license, corrects]]
        if len(meters) - meters.count("spend") > 1:
            return  # An id of several events names none of them.
        id = f"adjust-{number}"
        expected = self.book.adjust(license, id, corrects, change, self.product.now())
        assert self.product.adjust(license, id, corrects, meters[0], change) == expected

    @rule(card=cards)
    def change_rate_card(self, card: dict[str, Decimal | None]) -> None:
        self.book.card = card
        self.product.vendor("PATCH", "/meters/spend", {"rate_card": rows_of(card)})

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
            (id(quota), subject): (quota, subject)
            for name in AGENTS
            for quota, subject in self.book.applying(name)
            if quota.counting.meter != "level" and not quota.counting.is_rolling
        }
        return list(found.values())
