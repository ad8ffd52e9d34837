"""What the ledger is asked: requests with their lines, where those count, and what became of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from licenses.domain.rate_limits import HoldLimit
from metering.domain.allowances import Standing
from metering.domain.digests import Digest
from metering.domain.enums import EventKind
from metering.domain.terms import Caller, MeterTerms, QuotaTerms


class Verdict(StrEnum):
    """What became of a request."""

    DONE = "done"
    REPLAYED = "replayed"
    CONFLICT = "conflict"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a line counts for one quota: the balance of its own period, or, if that is closed, the open one."""

    quota: QuotaTerms
    own: UUID
    open: UUID


@dataclass(frozen=True, slots=True)
class Place:
    """A balance in which an event counted, so that what corrects the event counts in the very same one, closed or not.

    `own` is the balance of the event's own period: another one where the event came too late for it. `quota` is None
    where the quota does not hold for the caller any more.
    """

    balance_id: UUID
    own: UUID
    quota: QuotaTerms | None = None


@dataclass(slots=True)
class Line:
    """One quantity of one meter. `quantity` is what counts: for a count meter 1.

    `corrects` names the event that this one reverses or adjusts, and `places` where that one counted; `derived_from`
    the one that its amount was computed from.
    """

    meter: MeterTerms
    quantity: Decimal
    dimensions: Mapping[str, str]
    occurred_at: datetime
    event_id: UUID
    targets: Sequence[Target] = ()
    corrects: UUID | None = None
    derived_from: UUID | None = None
    flags: tuple[str, ...] = ()
    unit_price: Decimal | None = None
    """By which a derived amount follows from its source's quantity."""
    sent: Mapping[str, str] | None = None
    """The dimensions as they were sent, where others count."""
    places: Sequence[Place] | None = None
    """Where the corrected event counted; there are no targets then."""


@dataclass(frozen=True, slots=True)
class Unrated:
    """A line for which a cost meter that limits its caller has no rate: what it would cost nobody knows."""

    meter_code: str
    cost_meter_code: str
    quota: QuotaTerms
    dimensions: Mapping[str, str]


@dataclass(slots=True)
class KnownId:
    """What the register knows of an id."""

    fingerprint: Digest
    kind: str
    occurred_at: datetime
    occurred_given: bool
    event_ids: tuple[UUID, ...]
    hold_id: UUID | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A quota without room for what was asked, as it stood."""

    quota: QuotaTerms
    standing: Standing
    asked: Decimal


@dataclass(slots=True)
class OpenHolds:
    """How many holds somebody has open, and when the first of them ends by itself."""

    count: int
    next_end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Crowded:
    """A limit on open holds that is reached; the first place is free at `until` at the latest."""

    limit: HoldLimit
    current: int
    until: datetime | None


@dataclass(slots=True, eq=False)
class Request:
    """One id with its lines, and, once decided, its verdict.

    `releases` is what a settlement gives back, by balance; `occurred_given` whether the caller named the time:
    a retry that does not is the same payload whenever it comes. `only_replay` marks one that may repeat what was
    done and do nothing new, such as the settlement of a hold that is settled. `hold_limits` say how many holds may be
    open at once; `crowded` are those that refuse. `derived` are the amounts that its lines come to on cost meters, and
    `unrated` the lines that have none where they should: an ask is refused for them.
    """

    caller: Caller
    kind: EventKind
    id: str
    digest: Digest
    fingerprint: Digest
    lines: Sequence[Line]
    at: datetime
    occurred_given: bool = False
    hold_id: UUID | None = None
    releases: Mapping[UUID, Decimal] | None = None
    only_replay: bool = False
    verdict: Verdict | None = None
    refusals: tuple[Refusal, ...] = ()
    hold_limits: Sequence[HoldLimit] = ()
    crowded: tuple[Crowded, ...] = ()
    known: KnownId | None = None
    derived: Sequence[Line] = ()
    unrated: tuple[Unrated, ...] = ()

    @property
    def event_ids(self) -> tuple[UUID, ...]:
        """The events that this request makes; a hold makes none."""
        return () if self.kind is EventKind.HOLD else tuple(line.event_id for line in self.lines)

    @property
    def counting(self) -> Sequence[Line]:
        """All that counts: its lines, and what is derived from them."""
        return (*self.lines, *self.derived) if self.derived else self.lines

    @property
    def occurred_at(self) -> datetime:
        """The time that the register keeps: of the first line, or of the request."""
        return self.lines[0].occurred_at if self.lines else self.at

    def as_known(self) -> KnownId:
        """What the register will know of it once it is written."""
        return KnownId(
            fingerprint=self.fingerprint,
            kind=self.kind,
            occurred_at=self.occurred_at,
            occurred_given=self.occurred_given,
            event_ids=self.event_ids,
            hold_id=self.hold_id,
        )
