"""When an agent runs away: rules over its own calls, refusals and spend.

A rule is broken above its threshold, never at it, and only on what is known: without counts, without enough of them or
without a past to compare with there is no finding. Nothing here acts; that is for `metering.services.runaway_guard`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from metering.domain.numbers import EXACT

#: An episode is over below so much of the threshold, so that an agent at the edge is told of once.
CALM: Final = Decimal("0.8")

#: Baselines look so many hours back, and need so many before they say anything.
PROFILE_HOURS: Final = 7 * 24
LEAST_HOURS: Final = 24
#: The busiest hours that count for nothing, so that a single outburst does not make the next one look healthy.
PASSED_OVER: Final = 2

MINUTE: Final = 60
#: Counters live for two hours; the longest window leaves room for the one before.
LONGEST_WINDOW: Final = 60 * MINUTE


class RunawayRule(StrEnum):
    """What is watched."""

    CALLS_PER_MINUTE = "calls_per_minute"
    BASELINE_MULTIPLE = "baseline_multiple"
    REFUSAL_SHARE = "refusal_share"
    SPEND_PER_HOUR = "spend_per_hour"


class RunawayAction(StrEnum):
    """What is done about it. Each tells the vendor, too."""

    NOTIFY = "notify"
    THROTTLE = "throttle"
    SUSPEND = "suspend"


class RunawayEffect(StrEnum):
    """What was changed about the agent: nothing where it was only told, or where that held already."""

    NONE = "none"
    THROTTLED = "throttled"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class ThrottleTo:
    """The rate that an agent is throttled to, and for how many seconds."""

    limit: int
    window: int
    burst: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of a policy. `limit` is in calls, times, a share of 1, or units of the meter; `window` in seconds.

    Below `minimum_calls` within the window nothing is a finding. `plan_id` is whose rule it is, None: the agent's own.
    """

    kind: RunawayRule
    limit: Decimal
    action: RunawayAction
    window: int = MINUTE
    minimum_calls: int = 0
    meter: str | None = None
    throttle_to: ThrottleTo | None = None
    plan_id: str | None = None

    @property
    def key(self) -> str:
        """What tells rules of one agent apart: two plans may bring the same one, with limits of their own."""
        return ":".join((self.kind, self.action, self.meter or ""))

    @property
    def about(self) -> str:
        """What is watched: calls, refusals, or spend on a meter. Two rules may be about the same."""
        if self.kind in (RunawayRule.CALLS_PER_MINUTE, RunawayRule.BASELINE_MULTIPLE):
            return "calls"
        return f"{self.kind}:{self.meter or ''}"

    def is_covered_by(self, held_off: "Rule") -> bool:
        """Whether this rule is held off together with `held_off`: about the same, and no weightier in what it does.

        Else an agent whose suspension was undone would be throttled by the next lower rule in the same breath.
        """
        return self.about == held_off.about and _WEIGHT[self.action] <= _WEIGHT[held_off.action]

    @property
    def minutes(self) -> int:
        """The window in minutes."""
        return self.window // MINUTE


@dataclass(frozen=True, slots=True)
class Minute:
    """What an agent called in one minute of the clock; `refusals` are among the `calls`."""

    calls: int = 0
    refusals: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of an agent: its minutes from the present one backwards, its baseline, its spend by meter.

    None is unknown, which is not nothing. `baseline` is in calls a minute.
    """

    minutes: Sequence[Minute] | None = None
    baseline: int | None = None
    spend: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measure:
    """How an agent stands against a rule. `threshold` None: nothing to compare with, so never broken."""

    observed: Decimal
    threshold: Decimal | None
    calls: int = 0
    refusals: int = 0
    baseline: int | None = None

    @property
    def broken(self) -> bool:
        """Whether the agent is above the threshold."""
        return self.threshold is not None and self.observed > self.threshold

    @property
    def calm(self) -> bool:
        """Whether it is well below again."""
        return self.threshold is None or self.observed <= EXACT.multiply(self.threshold, CALM)


def measure(rule: Rule, reading: Reading) -> Measure | None:
    """How the agent stands against `rule`; None: what the rule is about is not known.

    Of the two windows that end with the present minute and with the one before, the worse one: what happened at the
    very end of a minute is counted when that is over.
    """
    if rule.kind is RunawayRule.SPEND_PER_HOUR:
        spent = reading.spend.get(rule.meter or "")
        return None if spent is None else Measure(spent, rule.limit)
    if reading.minutes is None:
        return None
    windows = [reading.minutes[start : start + rule.minutes] for start in (0, 1)]
    measures = [_measure_window(rule, window, reading.baseline) for window in windows]
    return max(measures, key=lambda each: (each.broken, each.threshold is not None, each.observed))


def baseline(peaks: Mapping[int, int], *, first_hour: int, hour: int, passed_over: Iterable[int] = ()) -> int | None:
    """The calls a minute that an agent is known to reach when it is busy; None without enough of a past.

    `peaks` are its busiest minutes by hour (whole hours since 1970) since `first_hour`; the present `hour` and those in
    `passed_over` do not count. It is the third highest peak of a week: bursts that come every hour or every night are
    known after three, and an outburst that fills less than three hours of the clock does not raise it.
    """
    if hour - first_hour < LEAST_HOURS:
        return None
    without = {hour, *passed_over}
    known = [peak for at, peak in peaks.items() if hour - PROFILE_HOURS <= at < hour and at not in without and peak > 0]
    return sorted(known, reverse=True)[PASSED_OVER] if len(known) > PASSED_OVER else None


def strictest(rules: Iterable[Rule]) -> list[Rule]:
    """Of rules that only their limits tell apart the one with the lowest; the weightiest action first."""
    found: dict[str, Rule] = {}
    for rule in rules:
        if rule.key not in found or rule.limit < found[rule.key].limit:
            found[rule.key] = rule
    return sorted(found.values(), key=lambda rule: (-_WEIGHT[rule.action], rule.key))


def _measure_window(rule: Rule, window: Sequence[Minute], base: int | None) -> Measure:
    calls = sum(minute.calls for minute in window)
    refusals = sum(minute.refusals for minute in window)
    enough = calls >= max(rule.minimum_calls, 1)
    match rule.kind:
        case RunawayRule.CALLS_PER_MINUTE:
            observed, threshold = Decimal(calls), rule.limit
        case RunawayRule.BASELINE_MULTIPLE:
            # Over the whole window and never extrapolated: a minute's burst is spread over all of it.
            observed = _ratio(calls, rule.minutes)
            threshold = None if base is None else EXACT.multiply(rule.limit, base)  # type: ignore[assignment]
        case _:
            observed, threshold = _ratio(min(refusals, calls), calls), rule.limit
    return Measure(observed, threshold if enough else None, calls, refusals, base)


def _ratio(part: int, whole: int) -> Decimal:
    return (Decimal(part) / Decimal(whole)).quantize(Decimal("0.000001")) if whole else Decimal(0)


_WEIGHT: Final = {RunawayAction.NOTIFY: 0, RunawayAction.THROTTLE: 1, RunawayAction.SUSPEND: 2}

#: What suits an agent of which nothing is known: far above what is healthy, whatever its bursts. A limit on calls a
#: minute and one on spend depend on what is sold.
RECOMMENDED: Final = (
    Rule(
        kind=RunawayRule.BASELINE_MULTIPLE,
        limit=Decimal(10),
        action=RunawayAction.THROTTLE,
        window=5 * MINUTE,
        minimum_calls=300,
        throttle_to=ThrottleTo(60, MINUTE, 60, 3600),
    ),
    Rule(
        kind=RunawayRule.REFUSAL_SHARE,
        limit=Decimal("0.9"),
        action=RunawayAction.NOTIFY,
        window=5 * MINUTE,
        minimum_calls=200,
    ),
)
