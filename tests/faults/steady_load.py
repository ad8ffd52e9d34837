"""Callers who send again what was not acknowledged, and who keep count of what they were told."""

from __future__ import annotations

import threading
import time
from collections import Counter
from decimal import Decimal
from typing import Any

from common.ids import Prefix, encode_id
from tests.http_client import Answer, Line, NoAnswer
from tests.live_shop import LiveShop, ReadyAgent, unique

#: What a caller can be told while a store is away, or is on its way back.
UNAVAILABLE = {"store_unreachable", "outcome_unknown"}


class SteadyLoad:
    """Usage, consumes and holds of one agent; each id is sent until somebody says that it is done."""

    def __init__(self, shop: LiveShop, *, give_up_after: float = 60) -> None:
        self.shop = shop
        self.agent: ReadyAgent = shop.ready_agent(
            {"limit": "10000000"}, {"limit": "100", "mode": "soft", "scope": "customer"}
        )
        self.give_up_after = give_up_after
        self.acknowledged: dict[str, int] = {}
        self.troubles: Counter[str] = Counter()
        self._count = iter(range(10**9))
        self._lock = threading.Lock()

    def lines(self, count: int = 8) -> list[Line]:
        return self.shop.lines(self.agent, count)

    def send_something(self, line: Line) -> None:
        """The next thing to be done, in turn."""
        with self._lock:
            number = next(self._count)
        quantity = 1 + number % 5
        if number % 4 == 0:
            events = [self.shop.event(unique("batch"), quantity + place) for place in range(5)]
            answer = self.until_done(line, "/usage", {"events": events})
            assert answer["recorded"] + answer["duplicates"] == 5, answer
            found = {result["event_id"]: quantity + place for place, result in enumerate(answer["results"])}
        elif number % 4 == 1:
            answer = self.until_done(line, "/usage", self.shop.event(unique("single"), quantity))
            found = {answer["results"][0]["event_id"]: quantity}
        elif number % 4 == 2:
            answer = self.until_done(line, "/authorize", self.shop.consume(unique("consume"), quantity))
            assert answer["allowed"], answer
            found = {answer["event_ids"][0]: quantity}
        else:
            asked = self.shop.consume(unique("hold"), quantity + 3, mode="hold", ttl=600)
            answer = self.until_done(line, "/authorize", asked)
            assert answer["allowed"], answer
            used = {"usage": [{"meter": self.shop.meter, "quantity": str(quantity)}]}
            settled = self.until_done(line, f"/holds/{answer['hold']['id']}/settle", used)
            found = {settled["event_ids"][0]: quantity}
        with self._lock:
            self.acknowledged |= found

    def until_done(self, line: Line, path: str, body: Any) -> Answer:
        """Send it, with the same ids, until it is answered 200; anything but a promise to come back fails."""
        end = time.monotonic() + self.give_up_after
        while True:
            try:
                answer = line.agent("POST", path, body)
            except NoAnswer:
                self._trouble("no answer")
            else:
                if answer.status == 200:
                    return answer
                assert answer.status == 503, answer
                assert answer.code in UNAVAILABLE, answer
                self._trouble(answer.code)
            assert time.monotonic() < end, f"not done in time: {self.troubles}"
            time.sleep(0.1)

    def check(self) -> None:
        """Everything that was acknowledged is there, once, and nothing else is."""
        query = "SELECT id, client_id, quantity FROM metering_usageevent WHERE tenant_id = %s"
        events = self.shop.rows(query)
        assert {encode_id(Prefix.EVENT, id): int(quantity) for id, _, quantity in events} == self.acknowledged
        assert len({client_id for _, client_id, _ in events}) == len(events), "an id was counted twice"
        total = Decimal(sum(self.acknowledged.values()))
        assert set(self.shop.balances().values()) == {(total, Decimal(0))}
        self.shop.verify()

    def _trouble(self, what: str) -> None:
        with self._lock:
            self.troubles[what] += 1
