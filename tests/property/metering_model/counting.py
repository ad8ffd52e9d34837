"""What counts where, in the plain model: every number is added up from the facts whenever it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from tests.property.metering_model.rules import NEVER, Window, value_of, window_of
from tests.property.metering_model.things import (
    ADDING_UP,
    AGENTS,
    AGGREGATIONS,
    LICENSES,
    ZERO,
    Bill,
    Fact,
    Hold,
    Known,
    Place,
    Quota,
    TopUp,
    subjects_of,
)


@dataclass
class Counts:
    """All that a vendor's workspace has seen, as the rules have it."""

    zone: ZoneInfo
    plan_of: dict[str, str]
    licenses_began: datetime
    prices: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    past_prices: dict[str, list[tuple[datetime, Mapping[str, Any]]]] = field(default_factory=dict)
    quotas: list[Quota] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    moved: dict[tuple[int, Place], Place] = field(default_factory=dict)
    let_go: dict[Place, tuple[datetime, int]] = field(default_factory=dict)
    taken: dict[str, datetime] = field(default_factory=dict)
    """When a licence took the plan that it has, if it had another one before."""
    facts_of: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    voided: set[int] = field(default_factory=set)
    adjusted: dict[int, Decimal] = field(default_factory=dict)
    register: dict[tuple[str, str], Known] = field(default_factory=dict)
    holds: list[Hold] = field(default_factory=list)
    touched: set[Place] = field(default_factory=set)
    closed: set[Place] = field(default_factory=set)
    brought: dict[Place, Decimal] = field(default_factory=dict)
    reserved_in: set[Place] = field(default_factory=set)
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

    def holds_in(self, quota: Quota, agent: str, place: Place) -> bool:
        """A plan's quotas count no period that had ended when the licence took the plan."""
        taken = self.taken.get(AGENTS[agent][0])
        of_license = quota.counting.origin != "own" and quota.counting.scope in ("agent", "license")
        return not of_license or taken is None or quota.counting.is_rolling or taken < place.window.end

    def place(self, quota: Quota, subject: str, at: datetime) -> Place:
        return Place(quota.counting, subject, window_of(quota.counting.period, at, self.zone, self._anchor(quota)))

    def _anchor(self, quota: Quota) -> datetime | None:
        return self.licenses_began if quota.counting.anchored else None

    def used(self, place: Place, *, facts: int | None = None) -> Decimal:
        """What counts in a place; with `facts`, of the first so many."""
        return self._value(place, self._counted(place, facts=facts))

    def _value(self, place: Place, numbers: Iterable[int], more: Sequence[tuple[datetime, Decimal]] = ()) -> Decimal:
        seen = [(self.facts[number].at, self.quantity(number)) for number in sorted(numbers)]
        return value_of(place.counting.aggregation, [*seen, *more])

    def quantity(self, number: int) -> Decimal:
        """What is left of a fact."""
        if number in self.voided:
            return ZERO
        return self.facts[number].line.quantity + self.adjusted.get(number, ZERO)

    def _counted(self, place: Place, *, facts: int | None = None) -> set[int]:
        """The facts that count in a place; with `facts`, of the first so many."""
        own = {
            number
            for number, fact in enumerate(self.facts[:facts])
            if number not in self.voided
            and place.counting.takes(fact.line)
            and place.subject in fact.subjects(place.counting.scope)
            and fact.at in place.window
            and (number, place) not in self.moved
        }
        late = {
            number
            for (number, _), to in self.moved.items()
            if to == place and number not in self.voided and (facts is None or number < facts)
        }
        return own | late

    def counting_now(self, quota: Quota, subject: str, now: datetime) -> set[int]:
        """The facts that a quota takes into account: of its running period, or of its rolling window."""
        place = self.place(quota, subject, now)
        if not quota.counting.is_rolling:
            return self._counted(place)
        first = self._window_start(place)
        return {
            number
            for number, fact in enumerate(self.facts)
            if number not in self.voided
            and quota.counting.takes(fact.line)
            and subject in fact.subjects(quota.counting.scope)
            and self._counted_in(quota, subject, number).window.start >= first
        }

    def _counted_in(self, quota: Quota, subject: str, number: int) -> Place:
        own = self.place(quota, subject, self.facts[number].at)
        return self.moved.get((number, own), own)

    def _window_start(self, part: Place) -> datetime:
        """A part of a rolling window counts until all of it has left: the 60 parts before one count with it."""
        return part.window.start - 60 * (part.window.end - part.window.start)

    def held(self, place: Place, now: datetime) -> Decimal:
        """What open holds reserve in a place; what they reserve in a rolling window counts as long as they are open."""
        where = (lambda each: each[:2] == place[:2]) if place.counting.is_rolling else (lambda each: each == place)
        return sum(
            (
                each.left
                for hold in self.holds
                if hold.status == "open" and now < hold.expires_at
                for each in hold.reserved
                if where(each.place)
            ),
            ZERO,
        )

    def topped_up(self, place: Place, now: datetime) -> Decimal:
        """What top-ups add in a place: what they have covered there, and what is left of those in force."""
        if place.counting.is_rolling:
            return ZERO
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
        used = self._value(place, self.counting_now(quota, subject, now))
        held, more, carried = self.held(place, now), self.topped_up(place, now), self.carried(quota, place)
        return (
            quota.counting.scope,
            quota.counting.meter,
            quota.counting.filter,
            str(quota.counting.period),
            quota.mode,
            quota.limit,
            more,
            carried,
            used,
            held,
            max(ZERO, quota.limit + more + carried - used - held),
            _state(quota, more + carried, used, held),
            self._resets_at(quota, place, now),
        )

    def _resets_at(self, quota: Quota, place: Place, now: datetime) -> datetime:
        if not quota.counting.is_rolling:
            return place.window.end
        parts: dict[Window, Decimal] = {}
        for number in self.counting_now(quota, place.subject, now):
            part = self._counted_in(quota, place.subject, number).window
            parts[part] = parts.get(part, ZERO) + self.quantity(number)
        used = [part for part, quantity in parts.items() if quantity]
        return min((part.end + 60 * (part.end - part.start) for part in used), default=NEVER)

    # --- what goes from one period to the next

    def carried(self, quota: Quota, place: Place) -> Decimal:
        """What a period was given by the one before."""
        if not quota.carries:
            return ZERO
        brought = self.brought.get(place)
        return _kept(self._brought_into(quota, place) if brought is None else brought, quota.carry_most)

    def _brought_into(self, quota: Quota, place: Place) -> Decimal:
        """What a period begins with that is used for the first time now: debts are no less than 0 there."""
        earlier = self._place_before(place)
        window = window_of(quota.counting.period, quota.since, self.zone, self._anchor(quota))
        if earlier.window.start < window.start:
            return ZERO
        if earlier in self.touched or earlier.window == window:
            given = self.carried(quota, earlier)
            return quota.limit + given + self.burnt(earlier) - self.used(earlier)
        return quota.limit + _kept(self._brought_into(quota, earlier), quota.carry_most)

    def _place_before(self, place: Place) -> Place:
        return self._place_at(place, place.window.start - timedelta(microseconds=1))

    def _place_after(self, place: Place) -> Place:
        return self._place_at(place, place.window.end)

    def _place_at(self, place: Place, at: datetime) -> Place:
        anchor = self.licenses_began if place.counting.anchored else None
        return place._replace(window=window_of(place.counting.period, at, self.zone, anchor))

    @contextmanager
    def _carrying_on(self) -> Iterator[None]:
        """What happens within changes what periods leave, and at once what the next ones were given."""
        carrying = {quota.counting: quota for quota in self.quotas if quota.live and quota.carries}
        places = sorted(
            (each for each in self.touched if each.counting in carrying), key=lambda each: each.window.start
        )
        before = [self.burnt(place) - self.used(place) for place in places]
        yield
        for place, left in zip(places, before, strict=True):
            more = self.burnt(place) - self.used(place) - left
            quota, following = carrying[place.counting], self._place_after(place)
            while more and following in self.brought and following not in self.closed:
                given = self.carried(quota, following)
                if place.window.end > quota.since:
                    self.brought[following] += more
                more = self.carried(quota, following) - given
                following = self._place_after(following)

    def usage(self, meter: str, group: Callable[[Fact], str]) -> dict[str, Decimal]:
        """All that was recorded of a meter, by what `group` says of a fact."""
        found: dict[str, list[tuple[datetime, Decimal]]] = {}
        for number, fact in enumerate(self.facts):
            if fact.line.meter == meter and (number not in self.voided or meter in ADDING_UP):
                found.setdefault(group(fact), []).append((fact.at, self.quantity(number)))
        return {name: value_of(AGGREGATIONS[meter], seen) for name, seen in found.items()}

    def _take_up(self, quota: Quota, place: Place) -> None:
        if quota.carries and place not in self.brought:
            self.brought[place] = self._brought_into(quota, place)
        self.touched.add(place)
        if place not in self.closed:
            self.let_go.pop(place, None)

    def _touch(self, agent: str, meter: str, at: datetime, now: datetime) -> None:
        for quota, subject in self.applying(agent):
            own = self.place(quota, subject, at)
            counts = quota.counting.meter in ((meter, "spend") if meter == "tokens" else (meter,))
            if counts and self.holds_in(quota, agent, own):
                for each in self._between(quota, own, self.place(quota, subject, now)):
                    self._take_up(quota, each)

    def _between(self, quota: Quota, own: Place, present: Place) -> list[Place]:
        """A place and the present one; where what is left goes on from one to the next, all between them."""
        if quota.counting.is_rolling:
            return [*self._seen_before(own), *self._seen_before(present), own, present]
        places = [own]
        while quota.carries and places[-1].window.end <= present.window.start:
            places.append(self._place_after(places[-1]))
        return [*places, present]

    def _seen_before(self, part: Place) -> list[Place]:
        """The parts of a rolling window that nothing has counted in yet: what it saw before is counted with it."""
        first, begun = self._window_start(part), part.window.start
        if any(each[:2] == part[:2] and first <= each.window.start < begun for each in self.touched):
            return []
        return [
            self._place_at(part, fact.at)
            for fact in self.facts
            if part.counting.takes(fact.line)
            and part.subject in fact.subjects(part.counting.scope)
            and first <= fact.at < begun
        ]

    def _burn(self, quota: Quota, place: Place, more: Decimal, now: datetime) -> None:
        """The quota's own allowance goes first; what is above it of so much more, top-ups in force cover."""
        over = min(more, self.used(place) - quota.limit - self.carried(quota, place) - self.burnt(place))
        for top_up in self._top_ups(place, now):
            taken = min(over, top_up.left)
            if taken > 0:
                top_up.burnt[place] = top_up.burnt.get(place, ZERO) + taken
                over -= taken


def _kept(brought: Decimal, most: Decimal | None) -> Decimal:
    return max(ZERO, brought if most is None else min(brought, most))


def _state(quota: Quota, more: Decimal, used: Decimal, held: Decimal) -> str:
    most, allowance = quota.most, quota.limit + more
    if most is not None and used + held >= most + more:
        return "exceeded"
    if quota.mode == "soft" and used > allowance:
        return "overage"
    taken = used + held if quota.mode == "hard" else used
    return "near_limit" if allowance and taken * 100 >= allowance * 80 else "ok"
