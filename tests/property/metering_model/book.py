"""The plain model: what was used is a list of facts, and every number is added up from it whenever it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from tests.property.metering_model.rules import NEVER, share, window_of
from tests.property.metering_model.things import (
    AGENTS,
    LICENSES,
    ZERO,
    Bill,
    Fact,
    Hold,
    Known,
    Place,
    Quota,
    Reserved,
    TopUp,
    UsageLine,
    subjects_of,
)

ACCEPTED_FOR = timedelta(days=35)
AHEAD = timedelta(minutes=5)


@dataclass
class Book:
    """All that a vendor's workspace has seen, as the rules have it."""

    zone: ZoneInfo
    plan_of: dict[str, str]
    prices: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    past_prices: dict[str, list[tuple[datetime, Mapping[str, Any]]]] = field(default_factory=dict)
    quotas: list[Quota] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    moved: dict[tuple[int, Place], Place] = field(default_factory=dict)
    let_go: dict[Place, tuple[datetime, int]] = field(default_factory=dict)
    facts_of: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    voided: set[int] = field(default_factory=set)
    register: dict[tuple[str, str], Known] = field(default_factory=dict)
    holds: list[Hold] = field(default_factory=list)
    touched: set[Place] = field(default_factory=set)
    closed: set[Place] = field(default_factory=set)
    bills: list[Bill] = field(default_factory=list)
    top_ups: list[TopUp] = field(default_factory=list)
    card: Mapping[str, Decimal | None] = field(default_factory=lambda: {"large": Decimal("0.5"), "all": None})

    # --- what is asked of it

    def applying(self, agent: str) -> Iterable[tuple[Quota, str]]:
        """The quotas that hold for an agent, each with the subject that it counts."""
        license, _ = AGENTS[agent]
        of_customer = {self.plan_of[each] for each, customer in LICENSES.items() if customer == LICENSES[license]}
        for quota in self.quotas:
            if not quota.live:
                continue
            for subject in subjects_of(agent, quota.counting.scope):
                origin = quota.counting.origin
                plans = of_customer if quota.counting.scope == "customer" else {self.plan_of[license]}
                if subject == quota.owner if origin == "own" else origin in plans:
                    yield quota, subject

    def place(self, quota: Quota, subject: str, at: datetime) -> Place:
        return Place(quota.counting, subject, window_of(quota.counting.period, at, self.zone))

    def used(self, place: Place, *, facts: int | None = None) -> Decimal:
        """What counts in a place; with `facts`, of the first so many."""
        own = (
            fact.line.quantity
            for number, fact in enumerate(self.facts[:facts])
            if number not in self.voided
            and place.counting.takes(fact.line)
            and place.subject in fact.subjects(place.counting.scope)
            and fact.at in place.window
            and (number, place) not in self.moved
        )
        late = (
            self.facts[number].line.quantity
            for (number, _), to in self.moved.items()
            if to == place and number not in self.voided and (facts is None or number < facts)
        )
        return sum(own, ZERO) + sum(late, ZERO)

    def held(self, place: Place, now: datetime) -> Decimal:
        return sum(
            (
                each.left
                for hold in self.holds
                if hold.status == "open" and now < hold.expires_at
                for each in hold.reserved
                if each.place == place
            ),
            ZERO,
        )

    def topped_up(self, place: Place, now: datetime) -> Decimal:
        """What top-ups add in a place: what they have covered there, and what is left of those in force."""
        return self.burnt(place) + sum((each.left for each in self._top_ups(place, now)), ZERO)

    def burnt(self, place: Place) -> Decimal:
        return sum((each.burnt.get(place, ZERO) for each in self.top_ups), ZERO)

    def _top_ups(self, place: Place, now: datetime) -> list[TopUp]:
        """Those in force, in the order in which they are used up; the book has them by age."""
        found = [
            each
            for each in self.top_ups
            if (each.counting, each.subject) == (place.counting, place.subject) and each.in_force(now)
        ]
        return sorted(found, key=lambda each: (each.priority, each.expires_at or NEVER))

    def standing(self, agent: str, now: datetime) -> list[tuple[Any, ...]]:
        """How every quota of an agent stands, sorted."""
        return sorted(self._standing(quota, subject, now) for quota, subject in self.applying(agent))

    def _standing(self, quota: Quota, subject: str, now: datetime) -> tuple[Any, ...]:
        place = self.place(quota, subject, now)
        used, held, more = self.used(place), self.held(place, now), self.topped_up(place, now)
        end = place.window.end
        return (
            quota.counting.scope,
            quota.counting.meter,
            quota.counting.filter,
            quota.counting.period,
            quota.mode,
            quota.limit,
            more,
            used,
            held,
            max(ZERO, quota.limit + more - used - held),
            _state(quota, more, used, held),
            end if end < NEVER else None,
        )

    # --- what happens to it

    def record(self, agent: str, events: Sequence[tuple[str, UsageLine, datetime | None]], now: datetime) -> list[str]:
        """Events of one agent (id, line, when) → what becomes of each."""
        return [self._record(agent, id, line, at, now) for id, line, at in events]

    def _record(self, agent: str, id: str, line: UsageLine, dated: datetime | None, now: datetime) -> str:
        at = dated or now
        if at < now - ACCEPTED_FOR:
            return "event_too_old"
        if at > now + AHEAD:
            return "event_in_future"
        self._touch(agent, line.meter, at, now)
        known = self.register.get((AGENTS[agent][0], id))
        if known is not None:
            same = known.kind == "usage" and known.payload == tuple(line) and dated in (None, known.at)
            return "duplicate" if same else "conflict"
        self.register[AGENTS[agent][0], id] = Known("usage", tuple(line), at, dated is not None)
        first = len(self.facts)
        self._count(agent, line, at, now)
        self.facts_of[AGENTS[agent][0], id] = list(range(first, len(self.facts)))
        return "recorded"

    def ask(
        self, agent: str, id: str, mode: str, lines: Sequence[UsageLine], now: datetime, **hold: Any
    ) -> tuple[str, list[tuple[Any, ...]]]:
        """`allowed`, `replayed`, `conflict` or `refused` with the quotas that have no room."""
        license = AGENTS[agent][0]
        for line in lines:
            self._touch(agent, line.meter, now, now)
        payload = (*map(tuple, lines), hold.get("on_excess"))
        known = self.register.get((license, id))
        if known is not None:
            return ("replayed" if (known.kind, known.payload) == (mode, payload) else "conflict"), []
        refused = self._full(agent, lines, now)
        if refused:
            return "refused", refused
        self.register[license, id] = Known(mode, payload, now, False)
        if mode == "consume":
            first = len(self.facts)
            for line in lines:
                self._count(agent, line, now, now)
            self.facts_of[license, id] = list(range(first, len(self.facts)))
        else:
            self._hold(agent, lines, now, **hold)
        return "allowed", []

    def _full(self, agent: str, lines: Sequence[UsageLine], now: datetime) -> list[tuple[Any, ...]]:
        refused: list[tuple[Any, ...]] = [
            ("rate_missing",)
            for line in lines
            if line.meter == "tokens" and self._cost(line) is None and self._has_budget(agent, line)
        ]
        lines = [each for line in lines for each in self._with_cost(line)]
        for quota, subject in self.applying(agent):
            taken = [line.quantity for line in lines if quota.counting.takes(line)]
            place = self.place(quota, subject, now)
            used, held = self.used(place), self.held(place, now)
            more = self.topped_up(place, now)
            if taken and quota.most is not None and used + held + sum(taken, ZERO) > quota.most + more:
                refused.append((quota.counting.meter, quota.counting.scope, quota.limit, used, held))
        return sorted(refused)

    def _hold(self, agent: str, lines: Sequence[UsageLine], now: datetime, ttl: int, on_excess: str) -> None:
        reserved = [
            Reserved(self.place(quota, subject, now), number, line.quantity, line.quantity)
            for number, asked in enumerate(lines)
            for line in self._with_cost(asked)
            for quota, subject in self.applying(agent)
            if quota.counting.takes(line)
        ]
        expires_at = now + timedelta(seconds=ttl)
        self.holds.append(Hold(agent, list(lines), expires_at, on_excess, reserved, settled=[ZERO for _ in lines]))

    def settle(self, hold: Hold, lines: Sequence[UsageLine], id: str | None, final: bool, now: datetime) -> str:
        """Settle what was used of a hold whose lines are of different meters → `settled`, `replayed` or a code."""
        for line in lines:
            self._touch(hold.agent, line.meter, now, now)
        over = hold.status in ("settled", "released") or hold.expires_at + ACCEPTED_FOR < now
        done = hold.settlements.get(id or "")
        body = (final, *sorted(lines))
        counted = [self._capped(hold, line) for line in lines]
        if hold.on_excess == "reject" and not over and done is None and counted != list(lines):
            return "exceeds_hold"
        if done is not None:
            if done == body:
                return "replayed"
            return "hold_settled" if hold.status == "settled" else "id_conflict"
        if over:
            return f"hold_{'expired' if hold.status == 'open' else hold.status}"
        hold.settlements[id or ""] = body
        for line, capped in zip(lines, counted, strict=True):
            self._settle(hold, line, capped if hold.on_excess == "cap" else line, now)
        if final:
            hold.status = "settled"
            hold.reserved = []
        return "settled"

    def _capped(self, hold: Hold, line: UsageLine) -> UsageLine:
        number = _line_of(hold, line)
        left = ZERO if number is None else max(ZERO, hold.lines[number].quantity - hold.settled[number])
        return line._replace(quantity=min(left, line.quantity))

    def _settle(self, hold: Hold, asked: UsageLine, line: UsageLine, now: datetime) -> None:
        number = _line_of(hold, line)
        dimensions = line.dimensions if number is None else hold.lines[number].dimensions
        self._count(hold.agent, line._replace(dimensions=dimensions), now, now)
        if number is None:
            return
        held = hold.lines[number].quantity
        open_ = max(ZERO, held - hold.settled[number] - asked.quantity)
        hold.settled[number] += line.quantity
        for each in hold.reserved:
            if each.line == number:
                each.left = min(each.left, share(each.first, open_, held))

    def release(self, hold: Hold, now: datetime) -> str:
        if hold.status == "settled":
            return "hold_settled"
        if hold.status == "open":
            hold.status = "expired" if hold.expires_at <= now else "released"
        return hold.status

    def extend(self, hold: Hold, ttl: int, now: datetime) -> str:
        if hold.status != "open" or hold.expires_at <= now:
            return f"hold_{'expired' if hold.status == 'open' else hold.status}"
        hold.expires_at = now + timedelta(seconds=ttl)
        return "open"

    def expire(self, now: datetime) -> None:
        for hold in self.holds:
            if hold.status == "open" and hold.expires_at <= now:
                hold.status, hold.reserved = "expired", []

    def _take_up(self, place: Place) -> None:
        self.touched.add(place)
        if place not in self.closed:
            self.let_go.pop(place, None)

    def _touch(self, agent: str, meter: str, at: datetime, now: datetime) -> None:
        for quota, subject in self.applying(agent):
            if quota.counting.meter in ((meter, "spend") if meter == "tokens" else (meter,)):
                self._take_up(self.place(quota, subject, at))
                self._take_up(self.place(quota, subject, now))

    def _count(self, agent: str, line: UsageLine, at: datetime, now: datetime) -> None:
        for each in self._with_cost(line):
            self._count_one(agent, each, at, now)

    def _with_cost(self, line: UsageLine) -> list[UsageLine]:
        """A line and, where the rate card has a price for it, what it costs."""
        cost = self._cost(line)
        return [line] if cost is None else [line, line._replace(meter="spend", quantity=cost)]

    def _cost(self, line: UsageLine) -> Decimal | None:
        if line.meter != "tokens":
            return None
        each = self.card["large" if ("model", "large") in line.dimensions else "all"]
        return None if each is None else (line.quantity * each).quantize(Decimal("1E-12"), ROUND_HALF_UP)

    def _has_budget(self, agent: str, line: UsageLine) -> bool:
        spend = line._replace(meter="spend")
        return any(quota.counting.takes(spend) for quota, _ in self.applying(agent))

    def _count_one(self, agent: str, line: UsageLine, at: datetime, now: datetime) -> None:
        fact = Fact(agent, line, at)
        self.facts.append(fact)
        for quota, subject in self.applying(agent):
            if quota.counting.takes(line):
                own = counted_in = self.place(quota, subject, at)
                if own in self.closed:
                    counted_in = self.place(quota, subject, now)
                    self.moved[len(self.facts) - 1, own] = counted_in
                self._burn(quota, counted_in, line.quantity, now)

    def _burn(self, quota: Quota, place: Place, quantity: Decimal, now: datetime) -> None:
        """The quota's own allowance goes first; what is above it of this quantity, top-ups in force cover."""
        over = min(quantity, self.used(place) - quota.limit - self.burnt(place))
        for top_up in self._top_ups(place, now):
            taken = min(over, top_up.left)
            if taken > 0:
                top_up.burnt[place] = top_up.burnt.get(place, ZERO) + taken
                over -= taken


def _line_of(hold: Hold, line: UsageLine) -> int | None:
    for number, each in enumerate(hold.lines):
        if each.meter == line.meter and line.dimensions in ((), each.dimensions):
            return number
    return None


def _state(quota: Quota, more: Decimal, used: Decimal, held: Decimal) -> str:
    most, allowance = quota.most, quota.limit + more
    if most is not None and used + held >= most + more:
        return "exceeded"
    if quota.mode == "soft" and used > allowance:
        return "overage"
    taken = used + held if quota.mode == "hard" else used
    return "near_limit" if allowance and taken * 100 >= allowance * 80 else "ok"
