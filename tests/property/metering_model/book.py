"""The plain model: what was used is a list of facts, and every number is added up from it whenever it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from tests.property.metering_model.rules import NEVER, Window, charge, window_of

LICENSES = {"one": "acme", "two": "acme", "three": "globex"}
AGENTS = {
    "root": ("one", ("root",)),
    "worker": ("one", ("root", "worker")),
    "solo": ("two", ("solo",)),
    "other": ("three", ("other",)),
}
COUNTED = ("calls",)
"""Meters that count events; all others add up quantities."""

ZERO = Decimal(0)
ACCEPTED_FOR = timedelta(days=35)
AHEAD = timedelta(minutes=5)
GRACE = timedelta(hours=1)

Dimensions = tuple[tuple[str, str], ...]


class UsageLine(NamedTuple):
    """A quantity of a meter."""

    meter: str
    quantity: Decimal
    dimensions: Dimensions = ()


class Fact(NamedTuple):
    """Something that was used."""

    agent: str
    line: UsageLine
    at: datetime

    @property
    def license(self) -> str:
        return AGENTS[self.agent][0]

    def subjects(self, scope: str) -> Sequence[str]:
        return subjects_of(self.agent, scope)


def subjects_of(agent: str, scope: str) -> Sequence[str]:
    """Whom usage of an agent counts on, at a level."""
    license, path = AGENTS[agent]
    return {"agent": path, "license": (license,), "customer": (LICENSES[license],), "tenant": ("all",)}[scope]


class Counting(NamedTuple):
    """What a quota counts: its key."""

    origin: str
    scope: str
    meter: str
    filter: Dimensions
    period: str

    def takes(self, line: UsageLine) -> bool:
        return line.meter == self.meter and set(self.filter) <= set(line.dimensions)


class Place(NamedTuple):
    """Where something counts: a key, a subject, a period."""

    counting: Counting
    subject: str
    window: Window


@dataclass
class Quota:
    """A quota in force or archived; `owner` is None for a plan's."""

    counting: Counting
    owner: str | None
    limit: Decimal
    mode: str
    ceiling: Decimal | None = None
    live: bool = True
    id: str = ""

    @property
    def most(self) -> Decimal | None:
        return self.limit if self.mode == "hard" else self.ceiling


@dataclass
class Reserved:
    """What a hold reserves in one place, for one of its lines."""

    place: Place
    line: int
    left: Decimal


@dataclass
class Hold:
    """A reservation."""

    agent: str
    lines: list[UsageLine]
    expires_at: datetime
    on_excess: str
    reserved: list[Reserved]
    id: str = ""
    status: str = "open"
    settled: list[Decimal] = field(default_factory=list)
    settlements: dict[str, tuple[Any, ...]] = field(default_factory=dict)


class Known(NamedTuple):
    """What stands in the register for an id."""

    kind: str
    payload: tuple[Any, ...]
    at: datetime
    is_dated: bool


class Bill(NamedTuple):
    """An overage record."""

    license: str
    meter: str
    period_start: datetime
    status: str
    limit: Decimal
    used: Decimal
    quantity: Decimal
    amount: Decimal


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
    let_go: dict[Place, tuple[datetime, Decimal]] = field(default_factory=dict)
    register: dict[tuple[str, str], Known] = field(default_factory=dict)
    holds: list[Hold] = field(default_factory=list)
    touched: set[Place] = field(default_factory=set)
    closed: set[Place] = field(default_factory=set)
    bills: list[Bill] = field(default_factory=list)

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

    def used(self, place: Place) -> Decimal:
        own = (
            fact.line.quantity
            for number, fact in enumerate(self.facts)
            if place.counting.takes(fact.line)
            and place.subject in fact.subjects(place.counting.scope)
            and fact.at in place.window
            and (number, place) not in self.moved
        )
        late = (self.facts[number].line.quantity for (number, _), to in self.moved.items() if to == place)
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

    def standing(self, agent: str, now: datetime) -> list[tuple[Any, ...]]:
        """How every quota of an agent stands, sorted."""
        return sorted(self._standing(quota, subject, now) for quota, subject in self.applying(agent))

    def _standing(self, quota: Quota, subject: str, now: datetime) -> tuple[Any, ...]:
        place = self.place(quota, subject, now)
        used, held = self.used(place), self.held(place, now)
        end = place.window.end
        return (
            quota.counting.scope,
            quota.counting.meter,
            quota.counting.filter,
            quota.counting.period,
            quota.mode,
            quota.limit,
            used,
            held,
            max(ZERO, quota.limit - used - held),
            _state(quota, used, held),
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
        self._count(agent, line, at, now)
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
            for line in lines:
                self._count(agent, line, now, now)
        else:
            self._hold(agent, lines, now, **hold)
        return "allowed", []

    def _full(self, agent: str, lines: Sequence[UsageLine], now: datetime) -> list[tuple[Any, ...]]:
        refused = []
        for quota, subject in self.applying(agent):
            taken = [line.quantity for line in lines if quota.counting.takes(line)]
            place = self.place(quota, subject, now)
            used, held = self.used(place), self.held(place, now)
            if taken and quota.most is not None and used + held + sum(taken, ZERO) > quota.most:
                refused.append((quota.counting.meter, quota.counting.scope, quota.limit, used, held))
        return sorted(refused)

    def _hold(self, agent: str, lines: Sequence[UsageLine], now: datetime, ttl: int, on_excess: str) -> None:
        reserved = [
            Reserved(self.place(quota, subject, now), number, line.quantity)
            for number, line in enumerate(lines)
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
        hold.settled[number] += line.quantity
        for each in hold.reserved:
            if each.line == number:
                each.left -= min(each.left, asked.quantity)

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

    def change_plan(self, license: str, plan: str, now: datetime) -> None:
        """Another plan: what the old one's quotas have counted stays as it is, the new one's count all there was."""
        before = self._plan_places(license)
        self.plan_of[license] = plan
        for place in before - self._plan_places(license):
            if place in self.touched - self.closed and place not in self.let_go:
                self.let_go[place] = now, self.used(place)
        for quota in self.quotas:
            if quota.live and (quota.counting.origin, quota.counting.scope, quota.mode) == (plan, "license", "soft"):
                self._take_up(self.place(quota, license, now))

    def _plan_places(self, license: str) -> set[Place]:
        """Where something counts by a plan, whenever it was."""
        applying = {
            (quota.counting, subject)
            for agent, (of, _) in AGENTS.items()
            if LICENSES[of] == LICENSES[license]
            for quota, subject in self.applying(agent)
            if quota.counting.origin != "own"
        }
        return {place for place in self.touched if (place.counting, place.subject) in applying}

    def _take_up(self, place: Place) -> None:
        self.touched.add(place)
        if place not in self.closed:
            self.let_go.pop(place, None)

    def close(self, now: datetime, *, grace: timedelta = GRACE) -> None:
        """End the periods that ended longer ago than the grace."""
        due = {place for place in self.touched - self.closed if place.window.end <= now - grace}
        self.bills += [bill._replace(status="finalized") for place in due for bill in self._bill(place)]
        self.closed |= due

    def open_bills(self) -> list[Bill]:
        return [bill for place in self.touched - self.closed for bill in self._bill(place)]

    def _bill(self, place: Place) -> Iterable[Bill]:
        """A licence pays once for a meter in a period: by the plan that was in force when it ended."""
        rivals = [each for each in self.touched if self._price_of(each) is not None and _same_usage(each, place)]
        price = self._price_of(place)
        if price is None or place != min(rivals, key=self._precedence):
            return
        limit = next(quota.limit for quota in self.quotas if quota.counting == place.counting)
        used = self.let_go[place][1] if place in self.let_go else self.used(place)
        if used > limit:
            start, over = place.window.start, used - limit
            yield Bill(place.subject, place.counting.meter, start, "open", limit, used, over, charge(over, price))

    def _price_of(self, place: Place) -> Mapping[str, Any] | None:
        counting = place.counting
        soft = any(quota.counting == counting and quota.mode == "soft" for quota in self.quotas)
        if counting.scope != "license" or not soft:
            return None
        if counting.meter != "tokens":
            return None
        price = self.prices.get(counting.origin)
        # One that was taken away was in force when the period began; one that was put right was never in force.
        past = [each for until, each in self.past_prices.get(counting.origin, []) if until > place.window.start]
        return price or (past[-1] if past else None)

    def set_price(self, plan: str, price: Mapping[str, Any] | None, now: datetime) -> None:
        """What a plan charges for tokens above its allowance, from ever."""
        before = self.prices.get(plan)
        if before is not None and before != price:
            self.past_prices.setdefault(plan, []).append((now, before))
        self.prices[plan] = price

    def _precedence(self, place: Place) -> tuple[bool, int]:
        let_go = self.let_go.get(place)
        is_past = let_go is not None and let_go[0] < place.window.end
        return is_past, [quota.counting for quota in self.quotas].index(place.counting)

    def _touch(self, agent: str, meter: str, at: datetime, now: datetime) -> None:
        for quota, subject in self.applying(agent):
            if quota.counting.meter == meter:
                self._take_up(self.place(quota, subject, at))
                self._take_up(self.place(quota, subject, now))

    def _count(self, agent: str, line: UsageLine, at: datetime, now: datetime) -> None:
        fact = Fact(agent, line, at)
        self.facts.append(fact)
        for quota, subject in self.applying(agent):
            own = self.place(quota, subject, at)
            if quota.counting.takes(line) and own in self.closed:
                self.moved[len(self.facts) - 1, own] = self.place(quota, subject, now)


def _same_usage(one: Place, other: Place) -> bool:
    return (one.subject, one.window, one.counting.meter, one.counting.filter) == (
        other.subject,
        other.window,
        other.counting.meter,
        other.counting.filter,
    )


def _line_of(hold: Hold, line: UsageLine) -> int | None:
    for number, each in enumerate(hold.lines):
        if each.meter == line.meter and line.dimensions in ((), each.dimensions):
            return number
    return None


def _state(quota: Quota, used: Decimal, held: Decimal) -> str:
    most = quota.most
    if most is not None and used + held >= most:
        return "exceeded"
    if quota.mode == "soft" and used > quota.limit:
        return "overage"
    taken = used + held if quota.mode == "hard" else used
    return "near_limit" if quota.limit and taken * 100 >= quota.limit * 80 else "ok"
