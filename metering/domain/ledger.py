"""The ledger's decision: which requests of a batch are granted, and what they do to balances. Pure, greedy, in order.

Facts (usage, settlements) are always counted. Asks (consume, hold) are granted only if every quota at every level
has room for all of their lines: `used + held + asked <= limit`. An id that is known already changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from licenses.domain.rate_limits import HoldLimit
from metering.domain import allowances, counting
from metering.domain.allowances import Beside, Standing
from metering.domain.digests import Digest
from metering.domain.enums import EventKind, QuotaMode
from metering.domain.numbers import EXACT, ZERO
from metering.domain.terms import Caller, MeterTerms, QuotaTerms

EXCEEDED_MARK = 0
"""Stands among the fired thresholds for `quota.exceeded`; no threshold is 0 per cent."""
RECOVERED = -1
"""In a crossing: the quota that was exceeded no longer is."""

_NEVER = Decimal("Infinity")
_ASKS = (EventKind.CONSUME, EventKind.HOLD)


class Verdict(StrEnum):
    """What became of a request."""

    DONE = "done"
    REPLAYED = "replayed"
    CONFLICT = "conflict"
    REFUSED = "refused"


@dataclass(slots=True)
class BalanceState:
    """A balance under lock, as the batch leaves it. `closed` ones take no more events.

    `extra` is what was carried over and what top-ups have covered before this batch: allowance beside the limit.
    `burned` is what top-ups cover by this batch; `latest_at` when the event occurred whose value a latest meter has.
    `beside` is what few have: top-ups, a rolling window, a period that takes what is left.
    """

    id: UUID
    used: Decimal
    held: Decimal
    closed: bool
    fired: set[int]
    period_end: datetime | None = None
    extra: Decimal = ZERO
    burned: Decimal = ZERO
    latest_at: datetime | None = None
    changed: bool = False
    quiet_below: Decimal = ZERO
    """No threshold is crossed while less than this is used."""
    observed: counting.Observed | None = None
    """Of meters that do not add up."""
    beside: Beside | None = None


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


@dataclass(frozen=True, slots=True)
class Late:
    """An event that counts in another period than its own; `told` unless it corrects one that was told of."""

    event_id: UUID
    occurred_at: datetime
    own: UUID
    counted_in: UUID
    quantity: Decimal
    told: bool = True


@dataclass(frozen=True, slots=True)
class Crossing:
    """A threshold (in per cent, or `EXCEEDED_MARK`) that a balance reached for the first time in its period.

    `allowance` is what could be used without being over: limit, what was carried over, and top-ups.
    """

    request: Request
    quota: QuotaTerms
    balance_id: UUID
    threshold: int
    used: Decimal
    allowance: Decimal


@dataclass(slots=True)
class Decision:
    """What is to be written: requests in the order they came, late entries, thresholds crossed."""

    accepted: list[Request] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)
    crossings: list[Crossing] = field(default_factory=list)


def decide(
    balances: Mapping[UUID, BalanceState],
    requests: Sequence[Request],
    known: Mapping[Digest, KnownId],
    open_holds: Mapping[UUID, OpenHolds] | None = None,
) -> Decision:
    """Decide all requests in order; balances and requests are left as the batch leaves them.

    `open_holds` are of everybody whom the requests' `hold_limits` name.
    A request that is not accepted has changed nothing. A known id is found before quotas are looked at, so that
    exhaustion never refuses a retry.
    """
    decision = Decision()
    run = _Run(balances, decision)
    accepted: dict[Digest, Request] = {}
    for request in requests:
        seen = known.get(request.digest)
        if seen is None and request.digest in accepted:
            seen = accepted[request.digest].as_known()
        # Set in any case: a batch that is done again may have found something the last time.
        request.known = seen
        if seen is not None:
            request.verdict = _verdict_of_known(request, seen)
            continue
        if request.only_replay:
            request.verdict = Verdict.CONFLICT
            continue
        if request.kind in _ASKS:
            run.count()
            request.refusals = _refusals(balances, request)
            request.crowded = _crowded(open_holds or {}, request)
            if request.refusals or request.crowded or request.unrated:
                request.verdict = Verdict.REFUSED
                continue
        if not run.joined(request):
            run.count()
            _apply(balances, request, decision)
        for limit in request.hold_limits:
            (open_holds or {})[limit.subject_id].count += 1
        request.verdict = Verdict.DONE
        accepted[request.digest] = request
    run.count()
    decision.accepted = list(accepted.values())
    return decision


class _Run:
    """Facts in a row that count in the very same places, added up first: a large batch is mostly such runs.

    Only where no balance is closed; a run crosses thresholds as a whole.
    """

    __slots__ = ("_balances", "_decision", "_first", "_targets", "_total")

    def __init__(self, balances: Mapping[UUID, BalanceState], decision: Decision) -> None:
        self._balances = balances
        self._decision = decision
        self._targets: Sequence[Target] | None = None
        self._first: Request | None = None
        self._total = ZERO

    def joined(self, request: Request) -> bool:
        """Whether the request is part of the run now, or begins one."""
        if request.kind is not EventKind.USAGE or len(request.lines) != 1 or request.releases or request.derived:
            return False
        line = request.lines[0]
        if line.targets is not self._targets:
            self.count()
            if line.meter.rules is not None and not line.meter.aggregation.adds_up:
                return False
            if any(_is_special(self._balances[target.own]) for target in line.targets):
                return False
            self._targets, self._first = line.targets, request
        self._total = EXACT.add(self._total, line.quantity)
        return True

    def count(self) -> None:
        """Count the run so far: before anything else looks at balances."""
        if self._first is not None:
            for target in self._targets or ():
                balance = self._balances[target.own]
                balance.used = EXACT.add(balance.used, self._total)
                balance.changed = True
                if self._total < 0:
                    _recover(balance, target.quota, self._first, self._decision)
                _cross(balance, target.quota, self._first, self._decision)
        self._targets, self._first, self._total = None, None, ZERO


def _is_special(balance: BalanceState) -> bool:
    return balance.closed or balance.beside is not None


def _verdict_of_known(request: Request, seen: KnownId) -> Verdict:
    if not _same(request, seen):
        return Verdict.CONFLICT
    # These very event ids were made for this request: an earlier attempt was committed and its answer lost.
    # Where nothing was used there are none, and nothing tells an attempt from a repeat.
    if request.kind is EventKind.HOLD:
        mine = request.hold_id == seen.hold_id
    else:
        mine = bool(seen.event_ids) and request.event_ids == seen.event_ids
    return Verdict.DONE if mine else Verdict.REPLAYED


def _same(request: Request, seen: KnownId) -> bool:
    if request.kind != seen.kind or request.fingerprint != seen.fingerprint:
        return False
    return not request.occurred_given or request.occurred_at == seen.occurred_at


def _refusals(balances: Mapping[UUID, BalanceState], request: Request) -> tuple[Refusal, ...]:
    refusals = []
    for target, quantity in _asked(balances, request):
        quota = target.quota
        most = quota.blocks_above
        if most is None:
            continue
        balance = balances[target.own]
        if balance.beside is None and not balance.extra:
            if EXACT.add(EXACT.add(balance.used, balance.held), quantity) > most:
                refusals.append(Refusal(quota, allowances.standing_of(balance, request.at), quantity))
            continue
        standing = allowances.standing_of(balance, request.at)
        if EXACT.add(EXACT.add(standing.used, standing.held), quantity) > EXACT.add(most, standing.extra):
            refusals.append(Refusal(quota, standing, quantity))
    return tuple(refusals)


def _asked(balances: Mapping[UUID, BalanceState], request: Request) -> Iterable[tuple[Target, Decimal]]:
    """How much is asked of each balance; one line names each but once."""
    lines = request.counting
    if len(lines) == 1 and lines[0].meter.rules is None:
        return [(target, lines[0].quantity) for target in lines[0].targets]
    together: dict[UUID, tuple[Target, list[Line]]] = {}
    for line in lines:
        for target in line.targets:
            together.setdefault(target.own, (target, []))[1].append(line)
    return [(target, counting.asked(balances[id], of_it)) for id, (target, of_it) in together.items()]


def _crowded(open_holds: Mapping[UUID, OpenHolds], request: Request) -> tuple[Crowded, ...]:
    return tuple(
        Crowded(limit, open_holds[limit.subject_id].count, open_holds[limit.subject_id].next_end)
        for limit in request.hold_limits
        if open_holds[limit.subject_id].count >= limit.limit
    )


def _apply(balances: Mapping[UUID, BalanceState], request: Request, decision: Decision) -> None:
    for balance_id, quantity in (request.releases or {}).items():
        balance = balances[balance_id]
        balance.held = EXACT.subtract(balance.held, quantity)
        balance.changed = True
        allowances.hold(balance, EXACT.minus(quantity))
    for line in request.counting:
        if line.places is not None:
            _correct(balances, line, line.places, request, decision)
        for target in line.targets:
            balance = balances[target.own]
            if request.kind is EventKind.HOLD:
                balance.held = EXACT.add(balance.held, line.quantity)
                balance.changed = True
                allowances.hold(balance, line.quantity)
                continue
            if balance.closed:
                balance = balances[target.open]
                decision.late.append(Late(line.event_id, line.occurred_at, target.own, balance.id, line.quantity))
            before = balance.used
            if line.meter.rules is None or line.meter.aggregation.adds_up:
                balance.used = EXACT.add(balance.used, line.quantity)
                balance.changed = True
            else:
                counting.count(balance, line)
            if balance.beside is not None:
                allowances.use(balance, target.quota, EXACT.subtract(balance.used, before), request.at)
            if balance.used < before:
                _recover(balance, target.quota, request, decision)
            _cross(balance, target.quota, request, decision)


def _recover(balance: BalanceState, quota: QuotaTerms, request: Request, decision: Decision) -> None:
    """Less is used than before: an exceeded quota may be so no more, and can be exceeded and told again."""
    balance.quiet_below = ZERO
    if EXCEEDED_MARK not in balance.fired:
        return
    standing = allowances.standing_of(balance, request.at)
    allowance = EXACT.add(quota.limit, standing.extra)
    if not allowances.is_exceeded(quota.mode, allowance, standing.used, standing.rest):
        balance.fired.discard(EXCEEDED_MARK)
        decision.crossings.append(Crossing(request, quota, balance.id, RECOVERED, standing.used, allowance))


def _correct(
    balances: Mapping[UUID, BalanceState], line: Line, places: Sequence[Place], request: Request, decision: Decision
) -> None:
    """Count where the corrected event counted: a closed balance is put right in place, and nothing moves on.

    What does not add up is worked out anew from the events that are left, once they are written.
    """
    for place in places:
        balance, before = balances[place.balance_id], balances[place.balance_id].used
        if line.meter.aggregation.adds_up:
            balance.used = EXACT.add(balance.used, line.quantity)
            balance.changed = True
        if place.own != place.balance_id:
            late = Late(line.event_id, line.occurred_at, place.own, place.balance_id, line.quantity, told=False)
            decision.late.append(late)
        if place.quota is None:
            continue
        if balance.beside is not None:
            allowances.use(balance, place.quota, EXACT.subtract(balance.used, before), request.at)
        if not balance.closed:
            if balance.used < before:
                _recover(balance, place.quota, request, decision)
            _cross(balance, place.quota, request, decision)


def _cross(balance: BalanceState, quota: QuotaTerms, request: Request, decision: Decision) -> None:
    if balance.used < balance.quiet_below:
        return
    used, allowance, told, rest = balance.used, quota.limit, frozenset[int](), ZERO
    if balance.beside is not None or balance.extra:
        standing = allowances.standing_of(balance, request.at)
        used, allowance, rest = standing.used, EXACT.add(allowance, standing.extra), standing.rest
        if balance.beside is not None and balance.beside.window is not None:
            told = balance.beside.window.told
    if not allowance and quota.mode is QuotaMode.SOFT:
        # Pay-per-use: there is no allowance of which a share could be used up.
        balance.quiet_below = _NEVER if balance.beside is None else ZERO
        return
    marks = {threshold: EXACT.multiply(allowance, Decimal(threshold).scaleb(-2)) for threshold in quota.thresholds}
    for threshold, mark in marks.items():
        if threshold not in balance.fired and threshold not in told and used > 0 and used >= mark:
            balance.fired.add(threshold)
            decision.crossings.append(Crossing(request, quota, balance.id, threshold, used, allowance))
    known = EXCEEDED_MARK in balance.fired or EXCEEDED_MARK in told
    if not known and allowances.is_exceeded(quota.mode, allowance, used, rest):
        balance.fired.add(EXCEEDED_MARK)
        decision.crossings.append(Crossing(request, quota, balance.id, EXCEEDED_MARK, used, allowance))
    if balance.beside is not None:
        # What is allowed may change from one instant to the next.
        return
    marks[EXCEEDED_MARK] = allowance
    balance.quiet_below = min((mark for each, mark in marks.items() if each not in balance.fired), default=_NEVER)
