import json
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from common.epochs import EpochKey
from licenses.domain.enums import LimitLevel
from licenses.domain.rate_limits import GateLimit
from licenses.services.fallback_limits import FallbackLimiter, share
from licenses.services.gate import GateCommand

AGENT, TENANT = LimitLevel.AGENT, LimitLevel.TENANT
VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "vectors" / "gcra.json").read_text())["gcra"][
    "trace"
]


class Seconds:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_check__published_trace__answers_as_the_standard_says() -> None:
    clock = Seconds()
    limiter = FallbackLimiter(processes=1, clock=clock)
    command = GateCommand(uuid4(), limits=(GateLimit(AGENT, uuid4(), 10, 60, 5),))
    seen = []
    for line in VECTORS:
        clock.now = line["now"]
        [verdict] = limiter.check([command])
        seen.append((verdict.limited is None, verdict.states[0].remaining, verdict.states[0].retry_after))

    assert seen == [(line["allowed"], line["remaining"], line["retry_after"]) for line in VECTORS]


@pytest.mark.parametrize(
    ("limit", "burst", "processes", "passes"), [(10, 10, 2, 5), (10, 5, 2, 2), (3, 3, 4, 1), (10, 10, 1, 10)]
)
def test_check__several_processes__each_lets_its_share_through(
    limit: int, burst: int, processes: int, passes: int
) -> None:
    limiter = FallbackLimiter(processes=processes, clock=Seconds())
    command = GateCommand(uuid4(), limits=(GateLimit(AGENT, uuid4(), limit, 60, burst),))

    verdicts = limiter.check([command] * 12)

    assert sum(verdict.limited is None for verdict in verdicts) == passes
    assert (verdicts[0].states[0].limit, verdicts[0].states[0].burst) == (limit, burst)


def test_share__even_split__refills_at_the_share_of_the_rate() -> None:
    assert share(GateLimit(AGENT, uuid4(), 60, 60, 60), 4).interval == 4_000_000


def test_check__one_level_refuses__no_limiter_moves() -> None:
    limiter = FallbackLimiter(processes=1, clock=Seconds())
    wide = GateLimit(TENANT, uuid4(), 10, 60, 10)
    narrow = GateLimit(AGENT, uuid4(), 1, 60, 1)

    verdicts = limiter.check([GateCommand(uuid4(), limits=(wide, narrow))] * 5)
    [alone] = limiter.check([GateCommand(uuid4(), limits=(wide,))])

    assert [verdict.limited is None for verdict in verdicts] == [True, False, False, False, False]
    assert alone.states[0].remaining == 8


def test_check__epochs_asked__are_all_cold() -> None:
    key = EpochKey("tenant", uuid4())

    [verdict] = FallbackLimiter(processes=1).check([GateCommand(uuid4(), (key, key))])

    assert verdict.epochs == (None, None)


def test_check__more_limiters_than_room__forgets_the_one_unused_for_longest() -> None:
    limiter = FallbackLimiter(processes=1, clock=Seconds(), capacity=2)
    commands = [GateCommand(uuid4(), limits=(GateLimit(AGENT, uuid4(), 1, 60, 1),)) for _ in range(3)]

    limiter.check(commands)

    assert [verdict.limited is None for verdict in limiter.check([commands[2], commands[1]])] == [False, False]
    assert limiter.check([commands[0]])[0].limited is None


def test_check__32_threads_on_one_limit__lets_exactly_the_burst_through() -> None:
    limiter = FallbackLimiter(processes=1)
    command = GateCommand(uuid4(), limits=(GateLimit(AGENT, uuid4(), 50, 36_000, 50),))
    passed: list[int] = []

    def call() -> None:
        passed.extend(limiter.check([command])[0].limited is None for _ in range(20))

    threads = [threading.Thread(target=call) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(passed) == 50
