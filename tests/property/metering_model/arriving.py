"""What comes in late or by other ways: imports, leases and their receipts; and a ledger that is put right."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.property.metering_model.selling import Selling
from tests.property.metering_model.steps import adding_up, agents, ages, held, lines, picks
from tests.property.metering_model.things import UsageLine


class Arriving(Selling):
    """Product and model side by side: what arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, str, UsageLine, datetime | None]] = []
        self.number = 0

    def _id(self) -> str:
        self.number += 1
        return f"e{self.number}"

    @rule(
        agent=agents,
        line=lines,
        more=st.lists(
            st.tuples(st.sampled_from([Decimal(0), Decimal(1), Decimal("2.5"), Decimal(12)]), ages), max_size=4
        ),
        age=ages,
        again=st.one_of(st.none(), picks),
    )
    def import_usage(
        self,
        agent: str,
        line: UsageLine,
        more: list[tuple[Decimal, timedelta | None]],
        age: timedelta | None,
        again: int | None,
    ) -> None:
        """A file of one agent and meter, and maybe a line that came before; it may be as old as events are kept."""
        now = self.product.now()
        all_lines = [(line, age)] + [
            (line if line.meter == "calls" else line._replace(quantity=quantity), each) for quantity, each in more
        ]
        events = [(self._id(), line, None if age is None else now - age) for line, age in all_lines]
        self.sent += [(agent, *each) for each in events]
        own = [each for each in self.sent[: -len(events)] if each[0] == agent]
        if again is not None and own:
            events.append(own[again % len(own)][1:])
        # A portion is counted in the order of time.
        in_order = sorted(events, key=lambda each: each[2] or now)
        statuses = self.book.record(agent, in_order, now, backfill=True)
        expected = Counter(recorded=0, duplicates=0, conflicts=0, rejected=0)
        words = {"recorded": "recorded", "duplicate": "duplicates", "conflict": "conflicts"}
        expected.update(words.get(status, "rejected") for status in statuses)
        assert self.product.import_usage(agent, events) == {**expected, "lines": len(events)}

    @rule(agent=agents, usage=held, ttl=st.sampled_from([330, 930]))
    def lease(self, agent: str, usage: list[UsageLine], ttl: int) -> None:
        expected, refused = self.book.lease(agent, usage, self.product.now(), ttl)
        answer, codes, hold = self.product.lease(agent, usage, ttl)
        assert (answer, codes) == (expected, refused)
        if hold is not None:
            self.book.holds[-1].id = hold

    @precondition(lambda self: self.book.holds)
    @rule(pick=picks, events=st.lists(st.tuples(adding_up, ages), min_size=1, max_size=3), again=st.booleans())
    def receipts(self, pick: int, events: list[tuple[UsageLine, timedelta | None]], again: bool) -> None:
        hold = self.book.holds[pick % len(self.book.holds)]
        now = self.product.now()
        sent = [(self._id(), line, None if age is None else now - age) for line, age in events]
        for _ in range(2 if again else 1):
            expected = self.book.record(hold.agent, sent, now, hold=hold)
            answer = self.product.record(hold.agent, sent, hold=hold.id)
            if self.product.struck:
                answer = [
                    "recorded" if (was, then) == ("duplicate", "recorded") else was
                    for was, then in zip(answer, expected, strict=True)
                ]
            assert answer == expected

    @rule(what=st.sampled_from(["used", "held", "rollup"]), pick=picks, by=st.sampled_from([Decimal(1), Decimal(-2)]))
    def repair(self, what: str, pick: int, by: Decimal) -> None:
        """Somebody writes into the tables by hand; the ledger is proven, and rebuilt from its events."""
        spoilt = self.product.spoil(what, pick, by)
        found, left = self.product.repair()
        assert bool(found) == spoilt
        assert left == []
