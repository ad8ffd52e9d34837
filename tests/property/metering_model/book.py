"""What happens in the plain model, and what it makes of it: usage, what is asked, holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from tests.property.metering_model.counting import Counts
from tests.property.metering_model.rules import EVER, share
from tests.property.metering_model.things import AGENTS, ZERO, Fact, Hold, Known, Reserved, UsageLine

ACCEPTED_FOR = timedelta(days=35)
AHEAD = timedelta(minutes=5)


@dataclass
class Book(Counts):
    """All that a vendor's workspace has seen, as the rules have it."""

    def record(
        self,
        agent: str,
        events: Sequence[tuple[str, UsageLine, datetime | None]],
        now: datetime,
        *,
        backfill: bool = False,
        hold: Hold | None = None,
    ) -> list[str]:
        """Events of one agent (id, line, when) → what becomes of each. As receipts they are of a `hold`."""
        oldest = EVER if backfill else now - ACCEPTED_FOR
        return [self._record(agent, id, line, at, now, oldest, hold) for id, line, at in events]

    def _record(
        self,
        agent: str,
        id: str,
        line: UsageLine,
        dated: datetime | None,
        now: datetime,
        oldest: datetime,
        hold: Hold | None,
    ) -> str:
        at = dated or now
        if at < oldest:
            return "event_too_old"
        if at > now + AHEAD:
            return "event_in_future"
        self._touch(agent, line.meter, at, now)
        known = self.register.get((AGENTS[agent][0], id))
        payload = tuple(line) if hold is None else (*line, hold.id)
        if known is not None:
            same = known.kind == "usage" and known.payload == payload and dated in (None, known.at)
            return "duplicate" if same else "conflict"
        self.register[AGENTS[agent][0], id] = Known("usage", payload, at, dated is not None)
        number = None if hold is None else _line_of(hold, line)
        if hold is not None and number is not None and hold.status == "open" and now < hold.expires_at:
            # What was set aside is not reserved and used at once.
            self._give_back(hold, number, line.quantity)
            hold.settled[number] += line.quantity
        first = len(self.facts)
        self._count(agent, line, at, now)
        self.facts_of[AGENTS[agent][0], id] = list(range(first, len(self.facts)))
        return "recorded"

    def lease(
        self, agent: str, lines: Sequence[UsageLine], now: datetime, ttl: int
    ) -> tuple[str, list[tuple[Any, ...]]]:
        """A hold that a signed licence carries: `allowed`, or `refused` with the quotas that have no room."""
        for line in lines:
            self._touch(agent, line.meter, now, now)
        refused = self._full(agent, lines, now)
        if refused:
            return "refused", refused
        self._hold(agent, lines, now, ttl, "count")
        return "allowed", []

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
            taken = [(now, line.quantity) for line in lines if quota.counting.takes(line)]
            place = self.place(quota, subject, now)
            counting = self.counting_now(quota, subject, now)
            used, held = self._value(place, counting), self.held(place, now)
            more = self.topped_up(place, now) + self.carried(quota, place)
            after = self._value(place, counting, taken)
            if taken and quota.most is not None and after + held > quota.most + more:
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
        self.reserved_in |= {each.place for each in reserved}
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
        self._give_back(hold, number, asked.quantity)
        hold.settled[number] += line.quantity

    def _give_back(self, hold: Hold, number: int, quantity: Decimal) -> None:
        """A part was used of a line: what is reserved for it becomes what is left of it."""
        held = hold.lines[number].quantity
        open_ = max(ZERO, held - hold.settled[number] - quantity)
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

    def _count(self, agent: str, line: UsageLine, at: datetime, now: datetime) -> None:
        for each in self._with_cost(line):
            with self._carrying_on():
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
                if not self.holds_in(quota, agent, own):
                    continue
                number = len(self.facts) - 1
                if own in self.closed:
                    counted_in = self.place(quota, subject, now)
                    self.moved[number, own] = counted_in
                before = self._value(counted_in, self._counted(counted_in) - {number})
                self._burn(quota, counted_in, self.used(counted_in) - before, now)


def _line_of(hold: Hold, line: UsageLine) -> int | None:
    for number, each in enumerate(hold.lines):
        if each.meter == line.meter and line.dimensions in ((), each.dimensions):
            return number
    return None
