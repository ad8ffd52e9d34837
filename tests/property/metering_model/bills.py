"""What the plain model charges, and when: plans that licences change, prices that are put right, periods that end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests.property.metering_model.book import Book
from tests.property.metering_model.rules import charge, round_half_up
from tests.property.metering_model.things import AGENTS, LICENSES, ZERO, Bill, Known, Place

GRACE = timedelta(hours=1)


@dataclass
class Final:
    """A bill that was made, and how it stands after its corrections."""

    bill: Bill
    price: Mapping[str, Any]
    used: Decimal

    def corrected(self, used: Decimal) -> Bill | None:
        """The record of the difference that other usage makes."""
        before, after = (max(ZERO, each - self.bill.limit) for each in (self.used, used))
        self.used = used
        if before == after:
            return None
        amount = charge(after, self.price) - charge(before, self.price)
        return self.bill._replace(status="credit", used=used, quantity=after - before, amount=amount)


@dataclass
class Ledger(Book):
    """The book, and what it comes to in money."""

    final: dict[Place, Final] = field(default_factory=dict)

    def change_plan(self, license: str, plan: str, now: datetime) -> None:
        """Another plan: what the old one's quotas have counted stays as it is, the new one's count all there was."""
        before = self._plan_places(license)
        if plan != self.plan_of[license]:
            self.taken[license] = now
        self.plan_of[license] = plan
        for place in before - self._plan_places(license):
            if place in self.touched - self.closed and place not in self.let_go:
                self.let_go[place] = now, len(self.facts)
        for quota in self.quotas:
            if quota.live and (quota.counting.origin, quota.counting.scope, quota.mode) == (plan, "license", "soft"):
                self._take_up(quota, self.place(quota, license, now))

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

    def close(self, now: datetime, *, grace: timedelta = GRACE) -> None:
        """End the periods that ended longer ago than the grace."""
        due = {place for place in self.touched - self.closed if place.window.end <= now - grace}
        for place in due:
            self._finalize(place)
            if place in self.let_go:
                self.let_go[place] = self.let_go[place][0], self._counted_by(place)
        self.closed |= due
        # Parts that have left their rolling window go, unless a hold names them.
        gone = {
            place
            for place in self.closed - self.reserved_in
            if place.counting.is_rolling and place.window.end + 60 * (place.window.end - place.window.start) <= now
        }
        self.closed -= gone
        self.touched -= gone

    def void(self, license: str, id: str, now: datetime) -> None:
        """Take back all that was counted under an id; final bills get a record of the difference."""
        self._before_correcting(self.facts_of[license, id], now)
        with self._carrying_on():
            self.voided |= set(self.facts_of[license, id])
        self._correct_bills()

    def adjust(self, license: str, id: str, corrects: str, change: Decimal, now: datetime) -> str:
        """Change what was counted of tokens under an id by a difference → what becomes of the event that says so."""
        numbers = self.facts_of[license, corrects]
        first = self.facts[numbers[0]].line
        if first.meter != "tokens":
            return "aggregation_unsupported"
        payload = ("adjust", corrects, change)
        known = self.register.get((license, id))
        if known is not None:
            return "duplicate" if known.payload == payload else "conflict"
        if numbers[0] in self.voided:
            return "event_voided"
        if self.quantity(numbers[0]) + change < 0:
            return "below_zero"
        self.register[license, id] = Known("adjust", payload, now, False)
        before = {place: self.used(place) for place in self.closed}
        self._before_correcting(numbers, now)
        for number in numbers:
            # Money that was computed changes in proportion, at the rate at which it was counted.
            fact = self.facts[number]
            exact = Fraction(fact.line.quantity) * Fraction(change) / Fraction(first.quantity) if first.quantity else 0
            part = change if number == numbers[0] else round_half_up(exact)
            with self._carrying_on():
                self.adjusted[number] = self.adjusted.get(number, ZERO) + part
                for quota, subject in self.applying(fact.agent):
                    counted_in = self._counted_in(quota, subject, number)
                    held = self.holds_in(quota, fact.agent, self.place(quota, subject, fact.at))
                    if held and quota.counting.takes(fact.line) and counted_in not in self.closed:
                        self._burn(quota, counted_in, part, now)
        self._correct_bills()
        for place, used in before.items():
            if self.used(place) > used and place not in self.final:
                self._finalize(place)
        return "recorded"

    def _before_correcting(self, numbers: Iterable[int], now: datetime) -> None:
        """Where a fact counts, what goes on from there is looked at; a running period that has seen it is, too."""
        for number in numbers:
            fact = self.facts[number]
            for quota, subject in self.applying(fact.agent):
                own = self.place(quota, subject, fact.at)
                present = self.place(quota, subject, now)
                if not quota.counting.takes(fact.line) or quota.counting.is_rolling:
                    continue
                if now in own.window:
                    self._take_up(quota, own)
                elif quota.carries and own in self.touched and (number, own) not in self.moved:
                    for each in self._between(quota, own, present):
                        self._take_up(quota, each)

    def _correct_bills(self) -> None:
        for place, final in self.final.items():
            correction = final.corrected(self._used_for_bill(place))
            if correction is not None:
                self.bills.append(correction)

    def _finalize(self, place: Place) -> None:
        for bill in self._bill(place):
            self.bills.append(bill._replace(status="finalized"))
            self.final[place] = Final(bill, self._price_of(place) or {}, bill.used)

    def _used_for_bill(self, place: Place) -> Decimal:
        """What was let go of counts no more than it had by then."""
        return self.used(place, facts=self._counted_by(place) if place in self.let_go else None)

    def _counted_by(self, place: Place) -> int:
        """A period that had ended by then counts what comes late for it until it is closed."""
        at, number = self.let_go[place]
        return number if place in self.closed or at < place.window.end else len(self.facts)

    def open_bills(self) -> list[Bill]:
        return [bill for place in self.touched - self.closed for bill in self._bill(place)]

    def _bill(self, place: Place) -> Iterable[Bill]:
        """A licence pays once for a meter in a period: by the plan that was in force when it ended."""
        rivals = [each for each in self.touched if self._price_of(each) is not None and _same_usage(each, place)]
        price = self._price_of(place)
        if price is None or place != min(rivals, key=self._precedence):
            return
        limit = next(quota.limit for quota in self.quotas if quota.counting == place.counting)
        limit += self.burnt(place)
        used = self._used_for_bill(place)
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


def _same_usage(one: Place, other: Place) -> bool:
    return (one.subject, one.window, one.counting.meter, one.counting.filter) == (
        other.subject,
        other.window,
        other.counting.meter,
        other.counting.filter,
    )
