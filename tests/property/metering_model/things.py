"""What the plain model's book is about: facts, places where they count, quotas, holds, top-ups, bills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from tests.property.metering_model.rules import EVER, Window

LICENSES = {"one": "acme", "two": "acme", "three": "globex"}
AGENTS = {
    "root": ("one", ("root",)),
    "worker": ("one", ("root", "worker")),
    "solo": ("two", ("solo",)),
    "other": ("three", ("other",)),
}
AGGREGATIONS = {
    "tokens": "sum",
    "calls": "count",
    "spend": "sum",
    "peak": "max",
    "sizes": "unique",
    "level": "latest",
}
ADDING_UP = ("tokens", "calls", "spend")
"""Meters of which something can be held."""

ZERO = Decimal(0)
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
    period: str | int
    """Of the calendar, or the seconds of a rolling window."""
    anchored: bool = False

    @property
    def is_rolling(self) -> bool:
        return isinstance(self.period, int)

    @property
    def aggregation(self) -> str:
        return AGGREGATIONS[self.meter]

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
    carries: bool = False
    carry_most: Decimal | None = None
    since: datetime = EVER

    @property
    def most(self) -> Decimal | None:
        return self.limit if self.mode == "hard" else self.ceiling


@dataclass
class Reserved:
    """What a hold reserves in one place, for one of its lines."""

    place: Place
    line: int
    first: Decimal
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


@dataclass
class TopUp:
    """Extra allowance, and what of it was used up where."""

    counting: Counting
    subject: str
    amount: Decimal
    starts_at: datetime
    expires_at: datetime | None
    priority: int
    id: str = ""
    is_void: bool = False
    burnt: dict[Place, Decimal] = field(default_factory=dict)

    @property
    def left(self) -> Decimal:
        return self.amount - sum(self.burnt.values(), ZERO)

    def in_force(self, at: datetime) -> bool:
        return not self.is_void and self.starts_at <= at and (self.expires_at is None or at < self.expires_at)


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
