"""What usage is held against: frozen copies of meters and quotas, and of who uses them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from licenses.domain.rate_limits import HoldLimit
from metering.domain.enums import Aggregation, Anchor, DimensionType, Period, QuotaMode, Scope
from metering.domain.periods import Window, period_window
from metering.domain.quota_keys import balance_id
from metering.domain.rate_cards import Rate


@dataclass(frozen=True, slots=True)
class MeterTerms:
    """A meter as the ledger needs it; `dimensions` are the names that events may carry.

    `rules` say what is particular about it: None on a plain sum or count meter, and nothing of them is looked at.
    A `derived` one is a cost meter: its amounts follow from events of other meters, and nobody reports them.
    """

    id: UUID
    code: str
    aggregation: Aggregation
    dimensions: tuple[str, ...] = ()
    event_types: tuple[str, ...] = ()
    derived: bool = False
    rules: "MeterRules | None" = field(default=None, compare=False)

    @property
    def reach(self) -> tuple[UUID, ...]:
        """The meters whose quotas its events count in: its own, and the cost meters that are derived from it."""
        if self.rules is None:
            return (self.id,)
        return (self.id, *(cost.meter.id for cost in self.rules.costs))


@dataclass(frozen=True, slots=True)
class MeterRules:
    """What is particular about a meter; a meter that does not add up has rules, if empty ones.

    `value_from` names the dimension that gives the value; only events that match `filter` count. `types` and
    `max_values` are of the dimensions that have them; `costs` are the cost meters derived from this one.
    """

    value_from: str = ""
    filter: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, DimensionType] = field(default_factory=dict)
    max_values: Mapping[str, int] = field(default_factory=dict)
    costs: tuple["CostTerms", ...] = ()


@dataclass(frozen=True, slots=True)
class CostTerms:
    """A cost meter, with the rows of its rate card for one source meter."""

    meter: MeterTerms
    rates: tuple[Rate, ...]


@dataclass(frozen=True, slots=True)
class CarryOver:
    """What is left of a period goes into the next, at most `most` (None: all), from the period of `since` on."""

    most: Decimal | None
    since: datetime


@dataclass(frozen=True, slots=True)
class QuotaTerms:
    """A quota as it holds for one subject. Equal keys and subjects share their balances.

    `topped_up` says that its balances may have top-ups: those of all others need not be looked for. It counts no period
    that had ended when the licence took its plan, at `taken_at` (None: it has had no other one).
    """

    id: UUID
    key: UUID
    scope: Scope
    subject_id: UUID
    meter_id: UUID
    meter_code: str
    mode: QuotaMode
    limit: Decimal
    period: Period
    ceiling: Decimal | None = None
    filter: Mapping[str, str] = field(default_factory=dict)
    anchor: Anchor = Anchor.CALENDAR
    anchored_at: datetime | None = None
    thresholds: tuple[int, ...] = ()
    plan_id: UUID | None = None
    aggregation: Aggregation = Aggregation.SUM
    value_from: str = ""
    rolling_seconds: int | None = None
    carry_over: CarryOver | None = None
    topped_up: bool = False
    taken_at: datetime | None = None

    @property
    def is_special(self) -> bool:
        """Whether its balances have more beside them than their row: top-ups, a rolling window, what is carried."""
        return self.topped_up or self.rolling_seconds is not None or self.carry_over is not None

    @property
    def shown_period(self) -> str | dict[str, int]:
        """The period as the wire has it."""
        return self.period.value if self.rolling_seconds is None else {"rolling": self.rolling_seconds}

    @property
    def blocks_above(self) -> Decimal | None:
        """The most that may be used and held; None for a soft quota without a ceiling."""
        return self.limit if self.mode is QuotaMode.HARD else self.ceiling

    def held_in(self, window: Window) -> bool:
        """Whether it held in that period, if only at its end. The parts of a rolling window are no periods."""
        if self.taken_at is None or window.end is None or self.rolling_seconds is not None:
            return True
        return self.taken_at < window.end

    def window(self, at: datetime, timezone: ZoneInfo) -> Window:
        """The period that `at` lies in."""
        return period_window(
            self.period,
            at=at,
            timezone=timezone,
            anchor=self.anchor,
            anchored_at=self.anchored_at,
            rolling_seconds=self.rolling_seconds,
        )

    def balance_id(self, window: Window) -> UUID:
        """The balance that counts this quota in that period."""
        return balance_id(self.key, self.subject_id, window.start)


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """Who uses: an agent under a licence, or the licence itself, with all that its usage is held against.

    `meters` are all that are in use, by code, cost meters too.
    `quotas` come in the order agent, parents, licence, customer, tenant, then by meter. `epochs` are the versions
    that were read before everything else here was: the ledger checks them again under its lock.
    """

    tenant_id: UUID
    customer_id: UUID
    license_id: UUID
    agent_id: UUID | None
    agent_path: tuple[UUID, ...]
    timezone: ZoneInfo
    meters: Mapping[str, MeterTerms]
    quotas: tuple[QuotaTerms, ...]
    epochs: tuple[tuple[str, UUID, int], ...]
    quotas_of: Mapping[UUID, tuple[QuotaTerms, ...]] = field(default_factory=dict)
    hold_limits: tuple[HoldLimit, ...] = ()
    remembered: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    """What the ledger has worked out for each meter, by code: good as long as this copy is."""

    def meter_of_type(self, event_type: str) -> MeterTerms | None:
        """The meter that takes CloudEvents of this type."""
        return next((meter for meter in self.meters.values() if event_type in meter.event_types), None)
