"""The ledger's decision: which requests of a batch are granted, and what they do to balances. Pure, greedy, in order.

Facts (usage, settlements) are always counted. Asks (consume, hold) are granted only if every quota at every level
has room for all of their lines: `used + held + asked <= limit`. An id that is known already changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from metering.domain import allowances, counting, crossings
from metering.domain.balance_states import BalanceState
from metering.domain.crossings import Crossing
from metering.domain.digests import Digest
from metering.domain.enums import EventKind
from metering.domain.numbers import EXACT, ZERO
from metering.domain.requests import Crowded, KnownId, Line, OpenHolds, Place, Refusal, Request, Target, Verdict

_ASKS = (EventKind.CONSUME, EventKind.HOLD)


@dataclass(frozen=True, slots=True)
class Late:
    """An event that counts in another period than its own; `told` unless it corrects one that was told of."""

    event_id: UUID
    occurred_at: datetime
    own: UUID
    counted_in: UUID
    quantity: Decimal
    told: bool = True


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
                    crossings.recover(balance, target.quota, self._first, self._decision.crossings)
                crossings.cross(balance, target.quota, self._first, self._decision.crossings)
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
                crossings.recover(balance, target.quota, request, decision.crossings)
            crossings.cross(balance, target.quota, request, decision.crossings)


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
                crossings.recover(balance, place.quota, request, decision.crossings)
            crossings.cross(balance, place.quota, request, decision.crossings)
