"""Agents with bursty but healthy traffic are never taken for runaways by the recommended rules; those that are, are.

Two weeks, minute by minute: what is counted in each, what the guard sees in it, and what it keeps of it as the agent's
past. The first days, in which there is no past, are part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from metering.domain.runaway import RECOMMENDED, Minute, Reading, RunawayRule, baseline, measure

DAYS = 9
HOURS = DAYS * 24
FIRST = 480_000
"""The hour in which the agent was made."""


@dataclass(frozen=True)
class Traffic:
    """`base` calls in a busy minute; bursts in calls. A storm multiplies what would be called, for some minutes."""

    seed: int
    base: int
    night_share: float
    cron: int
    batch_hour: int
    batch: int
    batch_minutes: int
    start_up: int
    restarts: int
    storms: int
    storm_factor: int
    storm_minutes: int
    limited_share: float

    def minutes(self) -> list[Minute]:
        """Calls and refusals of each minute."""
        random = Random(self.seed)
        storms = {random.randrange(36, HOURS) * 60 + random.randrange(60) for _ in range(self.storms)}
        restarts = {0, *(random.randrange(HOURS) * 60 + random.randrange(60) for _ in range(self.restarts))}
        found: list[Minute] = []
        storm_left = 0
        for minute in range(HOURS * 60):
            hour = minute // 60 % 24
            usual = self.base * (self.night_share if hour < 6 else 1)
            calls = round(usual * random.uniform(0.5, 1.5))
            if minute % 60 < 2:
                calls += self.cron
            if hour == self.batch_hour and minute % 60 < self.batch_minutes:
                calls += self.batch
            if minute in restarts:
                calls += self.start_up
            storm_left = self.storm_minutes if minute in storms else max(storm_left - 1, 0)
            if storm_left:
                calls *= self.storm_factor
            # Who is limited waits as told and comes again: a part of the calls is refused, not nearly all.
            found.append(Minute(calls, round(calls * self.limited_share)))
        return found


HEALTHY = st.builds(
    Traffic,
    seed=st.integers(0, 2**16),
    base=st.integers(1, 200),
    night_share=st.floats(0, 1),
    cron=st.integers(0, 500),
    batch_hour=st.integers(0, 23),
    batch=st.integers(0, 600),
    batch_minutes=st.integers(1, 45),
    start_up=st.integers(0, 250),
    restarts=st.integers(0, 6),
    storms=st.integers(0, 6),
    storm_factor=st.integers(2, 6),
    storm_minutes=st.integers(1, 10),
    limited_share=st.floats(0, 0.8),
)


def fired(minutes: Sequence[Minute]) -> list[tuple[int, str]]:
    """Each minute in which a recommended rule is broken, as the guard would see it at the minute's end."""
    peaks: dict[int, int] = {}
    found = []
    base = None
    for now in range(6, len(minutes)):
        hour = FIRST + now // 60
        if now % 60 == 0:
            peaks[hour - 1] = max(each.calls for each in minutes[now - 60 : now])
            base = baseline(peaks, first_hour=FIRST, hour=hour)
        latest = minutes[now : now - 6 : -1]
        for rule in RECOMMENDED:
            measured = measure(rule, Reading(latest, base))
            if measured is not None and measured.broken:
                found.append((now, rule.kind.value))
    return found


@given(HEALTHY)
@settings(max_examples=15, deadline=None)
def test_healthy_traffic__cron_batches_restarts_storms_and_quiet_nights__never_fires(traffic: Traffic) -> None:
    # A nightly batch is bound to be known after three nights; on the first ones it is a matter of its size, see below.
    if traffic.batch > 5 * (traffic.base + traffic.cron):
        traffic = replace(traffic, batch=5 * (traffic.base + traffic.cron))
    assert fired(traffic.minutes()) == []


@given(st.integers(1, 200), st.integers(12, 60), st.integers(0, 2**16))
@settings(max_examples=8, deadline=None)
def test_runaway__a_loop_at_over_ten_times_the_usual__fires_within_its_window(
    base: int, factor: int, seed: int
) -> None:
    quiet = Traffic(seed, base, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0).minutes()
    # It began in the middle of the day and goes on; the agent's busiest minutes reach half as much again as its usual.
    start = len(quiet) - 30
    loop = [Minute(max(round(base * 1.5 * factor), 100)) for _ in range(30)]

    found = fired([*quiet[:start], *loop])

    assert found
    assert found[0][1] == RunawayRule.BASELINE_MULTIPLE
    assert start <= found[0][0] < start + 5


def test_nightly_batch__a_hundred_times_the_rest__is_known_after_three_nights() -> None:
    batch = Traffic(7, 2, 0, 0, 2, 400, 30, 0, 0, 0, 1, 1, 0).minutes()

    days = sorted({minute // (24 * 60) for minute, _ in fired(batch)})

    assert days == [1, 2]  # on the first day there is no past to compare with


def test_refused_calls__nearly_all__fire() -> None:
    healthy = Traffic(3, 60, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0.1).minutes()[: 48 * 60]
    hammering = [Minute(100, 95) for _ in range(10)]

    found = fired([*healthy, *hammering])

    assert {kind for _, kind in found} == {"refusal_share"}
