"""Holds: reserve an estimate, count the truth, give the rest back. A crash in between costs nothing but the TTL.

Every change of a hold locks in the ledger's order: configuration, balances, then the hold and its lines.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db import transaction

from common.errors import Conflict, Invalid, NotFound
from common.ids import Prefix, encode_id, new_id
from common.quantities import format_quantity
from licenses.selectors.access import load_agent
from metering.domain.balance_states import BalanceState
from metering.domain.enums import EventFlag, EventKind, HoldStatus, OnExcess
from metering.domain.holds import HeldLine, SettledLine, cap, counted_of, excess, match_lines, to_release
from metering.domain.numbers import EXACT, ZERO
from metering.domain.quota_keys import event_digest
from metering.domain.requests import Line, Request, Verdict
from metering.domain.terms import Caller
from metering.models import Hold, HoldLine, UsageEvent
from metering.selectors.terms import load_caller
from metering.services import ledger_sql
from metering.services.expiring_holds import tell_expired
from metering.services.ledger import Posted, StaleCallers, post
from metering.services.lines import reprice
from metering.services.open_holds import lock_places
from metering.services.payloads import settlement_fingerprint

_MAX_CLIENT_ID = UsageEvent._meta.get_field("client_id").max_length


@dataclass(slots=True)
class HoldBook:
    """The ledger's companion that stores new holds; `intents`: when each ends, and what more than held does."""

    intents: dict[UUID, tuple[datetime, OnExcess]] = field(default_factory=dict)
    lease: bool = False

    def __call__(self, accepted: Sequence[Request]) -> None:
        made = [request for request in accepted if request.kind is EventKind.HOLD and request.hold_id in self.intents]
        if not made:
            return
        Hold.objects.bulk_create([self._hold(request) for request in made])
        HoldLine.objects.bulk_create([line for request in made for line in self._lines(request)])

    def _hold(self, request: Request) -> Hold:
        caller = request.caller
        expires_at, on_excess = self.intents[_hold_id(request)]
        return Hold(
            id=request.hold_id,
            tenant_id=caller.tenant_id,
            license_id=caller.license_id,
            customer_id=caller.customer_id,
            agent_id=caller.agent_id,
            client_id=request.id,
            on_excess=on_excess,
            usage=[
                {
                    "meter": line.meter.code,
                    "quantity": format_quantity(line.quantity),
                    "dimensions": dict(line.dimensions if line.sent is None else line.sent),
                }
                for line in request.lines
            ],
            settled=["0"] * len(request.lines),
            expires_at=expires_at,
            lease=self.lease,
        )

    def _lines(self, request: Request) -> list[HoldLine]:
        """What is reserved for each line; on cost meters what it was estimated to cost."""
        expires_at, _ = self.intents[_hold_id(request)]
        places = {line.event_id: place for place, line in enumerate(request.lines)}
        return [
            HoldLine(
                tenant_id=request.caller.tenant_id,
                hold_id=_hold_id(request),
                balance_id=target.own,
                line=places[line.derived_from or line.event_id],
                quantity=line.quantity,
                reserved=line.quantity,
                expires_at=expires_at,
            )
            for line in request.counting
            for target in line.targets
        ]


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settlement came to; `replayed` if it had been done before."""

    hold: Hold
    event_ids: tuple[UUID, ...]
    replayed: bool
    posted: Posted


@dataclass(slots=True)
class _Settlement:
    """One settlement: what was asked, and, under the locks, what it comes to."""

    hold_id: UUID
    asked: Sequence[SettledLine]
    final: bool
    request: Request
    hold: Hold | None = None
    _released: Mapping[UUID, Decimal] = field(default_factory=dict)
    _open_lines: Sequence[HoldLine] = ()

    def under_lock(self) -> None:
        """Look at the hold as it stands and fit the request to it: cap, releases, or nothing but a replay."""
        tenant_id, at = self.request.caller.tenant_id, self.request.at
        self.hold = hold = Hold.objects.for_tenant(tenant_id).select_for_update().get(id=self.hold_id)
        self._open_lines = list(
            HoldLine.objects.for_tenant(tenant_id).filter(hold_id=hold.id, open=True).select_for_update().order_by("id")
        )
        self.request.releases = {}
        self.request.only_replay = hold.status in (HoldStatus.SETTLED, HoldStatus.RELEASED) or _too_late(hold, at)
        if self.request.only_replay:
            return
        held = _held_lines(hold)
        places = match_lines(held, self.asked)
        if hold.on_excess == OnExcess.CAP:
            for line, quantity in zip(self.request.lines, cap(held, self.asked, places), strict=True):
                line.quantity = ZERO if EventFlag.NOT_COUNTED in line.flags else quantity
            reprice(self.request)
        released: dict[UUID, Decimal] = {}
        for held_line in self._open_lines:
            reserved = held_line.reserved
            of_part = counted_of(held_line.line, self.asked, places)
            quantity = (
                reserved if self.final else to_release(held[held_line.line], of_part, held_line.quantity, reserved)
            )
            held_line.reserved = EXACT.subtract(reserved, quantity)
            held_line.open = not self.final
            released[held_line.balance_id] = EXACT.add(released.get(held_line.balance_id, ZERO), quantity)
        self.request.releases = released

    def store(self, accepted: Sequence[Request]) -> None:
        """The ledger's companion: write the hold and its lines as they are after this settlement."""
        if not accepted or self.hold is None:
            return
        held = _held_lines(self.hold)
        settled = [line.settled for line in held]
        for place, line in zip(match_lines(held, self.asked), self.request.lines, strict=True):
            if place is not None:
                settled[place] = EXACT.add(settled[place], line.quantity)
        self.hold.settled = [format_quantity(quantity) for quantity in settled]
        if self.final:
            self.hold.status = HoldStatus.SETTLED
            self.hold.closed_at = self.request.at
        self.hold.save(update_fields=["settled", "status", "closed_at", "updated_at"])
        HoldLine.objects.bulk_update(self._open_lines, ["reserved", "open"])


def settle(
    *, caller: Caller, hold_id: UUID, asked: Sequence[SettledLine], id: str | None, final: bool, at: datetime
) -> Settled:
    """Count what was really used and give back the rest, or a part's share of it; idempotent by body (and `id`).

    It counts on the agent that holds, also where one above it settles.
    Raises NotFound, Invalid (`exceeds_hold`, where the hold rejects excess), Conflict `hold_settled`,
    `hold_released`, `hold_expired` (longer ago than the acceptance window), `id_conflict`; StaleCallers.
    """
    hold = find_hold(caller, hold_id)
    caller = _holder(hold, caller)
    held = _held_lines(hold)
    places = match_lines(held, asked)
    request = Request(
        caller=caller,
        kind=EventKind.SETTLE,
        # For people to read; what makes a settlement unique is the digest of both ids.
        id=(f"{hold.client_id}/{id}" if id else hold.client_id)[:_MAX_CLIENT_ID],
        digest=event_digest(hold.license_id, b"settle" + hold.id.bytes, id or ""),
        fingerprint=settlement_fingerprint(asked, final=final),
        lines=[
            Line(
                meter=line.meter,
                quantity=line.quantity,
                dimensions=line.dimensions if place is None or line.dimensions else held[place].dimensions,
                occurred_at=at,
                event_id=new_id(),
            )
            for line, place in zip(asked, places, strict=True)
        ],
        at=at,
        hold_id=hold.id,
    )
    settlement = _Settlement(hold.id, asked, final, request)
    balances = (
        HoldLine.objects.for_tenant(caller.tenant_id).filter(hold_id=hold.id).values_list("balance_id", flat=True)
    )

    def before() -> None:
        settlement.under_lock()
        if hold.on_excess != OnExcess.REJECT or request.only_replay or settlement.hold is None:
            return
        # What was settled already is no excess when it is sent again.
        if not ledger_sql.read_ids([caller.tenant_id], [request.digest]):
            _reject_excess(_held_lines(settlement.hold), asked)

    posted = post([request], companion=settlement.store, extra_balances=set(balances), before=before)
    now_held = settlement.hold or hold
    if request.verdict is Verdict.CONFLICT:
        raise _conflict(now_held, request)
    known = request.known
    return Settled(
        hold=now_held,
        event_ids=known.event_ids if known else request.event_ids,
        replayed=request.verdict is Verdict.REPLAYED,
        posted=posted,
    )


def release(*, caller: Caller, hold_id: UUID, at: datetime) -> Hold:
    """Give all back. Releasing twice, or what has expired, is the same as once.

    Raises NotFound, Conflict `hold_settled`.
    """
    with transaction.atomic():
        hold, balances, lines = _lock(caller, hold_id)
        if hold.status == HoldStatus.SETTLED:
            raise Conflict("hold_settled", "The hold is settled: what was counted stays counted.")
        if hold.status == HoldStatus.OPEN:
            hold.status = HoldStatus.EXPIRED if hold.expires_at <= at else HoldStatus.RELEASED
            hold.closed_at = at
            hold.save(update_fields=["status", "closed_at", "updated_at"])
            if hold.status == HoldStatus.EXPIRED:
                tell_expired([hold.id])
            for line in lines:
                balance = balances[line.balance_id]
                balance.held = EXACT.subtract(balance.held, line.reserved)
                balance.changed = True
                line.reserved, line.open = ZERO, False
            HoldLine.objects.bulk_update(lines, ["reserved", "open"])
            ledger_sql.update_balances(balances.values())
    return hold


def extend(*, caller: Caller, hold_id: UUID, ttl: int, at: datetime) -> Hold:
    """Let an open hold end `ttl` seconds from now. Raises NotFound, Conflict `hold_settled|released|expired`."""
    began = time.monotonic()
    with transaction.atomic():
        hold, balances, lines = _lock(caller, hold_id)
        lock_places(_holder(hold, caller).hold_limits)
        # Who had the lock may have taken the place of a hold that ended while this call waited.
        now = at + timedelta(seconds=time.monotonic() - began)
        # An ask that came first, by a clock that is ahead, may have given back what it reserved.
        is_swept = {line.balance_id for line in lines} != balances.keys()
        if hold.status != HoldStatus.OPEN or hold.expires_at <= now or is_swept:
            raise _over(hold)
        hold.expires_at = at + timedelta(seconds=ttl)
        hold.save(update_fields=["expires_at", "updated_at"])
        HoldLine.objects.filter(id__in=[line.id for line in lines]).update(expires_at=hold.expires_at)
    return hold


def find_hold(caller: Caller, hold_id: UUID) -> Hold:
    """A hold of this agent, or of one below it; NotFound for any other. A licence acts for all of its agents."""
    hold = (
        Hold.objects.for_tenant(caller.tenant_id)
        .filter(id=hold_id, license_id=caller.license_id)
        .select_related("agent")
        .first()
    )
    if hold is None or (caller.agent_id and (hold.agent is None or caller.agent_id not in hold.agent.path)):
        raise NotFound("There is no such hold.")
    return hold


def _holder(hold: Hold, caller: Caller) -> Caller:
    """Whose usage it is: of the agent that holds, whoever above it settles."""
    if hold.agent_id is None or hold.agent_id == caller.agent_id:
        return caller
    access = load_agent(hold.tenant_id, hold.agent_id)
    if access is None:
        raise NotFound("There is no such hold.")
    return load_caller(access)


def _lock(caller: Caller, hold_id: UUID) -> tuple[Hold, dict[UUID, BalanceState], list[HoldLine]]:
    found = find_hold(caller, hold_id)
    lines = HoldLine.objects.for_tenant(caller.tenant_id).filter(hold_id=found.id)
    ledger_sql.lock_configuration_shared([caller.tenant_id])
    balances, _ = ledger_sql.lock_balances([caller.tenant_id], list(set(lines.values_list("balance_id", flat=True))))
    hold = Hold.objects.for_tenant(caller.tenant_id).select_for_update().get(id=found.id)
    return hold, balances, list(lines.filter(open=True).select_for_update().order_by("id"))


def _held_lines(hold: Hold) -> list[HeldLine]:
    return [
        HeldLine(line["meter"], Decimal(line["quantity"]), Decimal(settled), line["dimensions"])
        for line, settled in zip(hold.usage, hold.settled, strict=True)
    ]


def _hold_id(request: Request) -> UUID:
    if request.hold_id is None:
        raise TypeError("a request of kind hold names its hold")
    return request.hold_id


def _too_late(hold: Hold, at: datetime) -> bool:
    window: timedelta = settings.PERMETER_ACCEPTANCE_WINDOW
    return hold.expires_at + window < at


def _conflict(hold: Hold, request: Request) -> Conflict:
    if request.known is not None and hold.status != HoldStatus.SETTLED:
        return Conflict("id_conflict", "Another settlement of this hold has the same id. Take a new id.")
    return _over(hold)


def _over(hold: Hold) -> Conflict:
    status = HoldStatus.EXPIRED if hold.status == HoldStatus.OPEN else HoldStatus(hold.status)
    return Conflict(f"hold_{status}", f"The hold is {status}.", extra={"hold": encode_id(Prefix.HOLD, hold.id)})


def _reject_excess(held: Sequence[HeldLine], asked: Sequence[SettledLine]) -> None:
    over = excess(held, asked, match_lines(held, asked))
    if over > 0:
        raise Invalid(
            f"This is {format_quantity(over)} more than is held, and the hold rejects excess. Nothing was counted.",
            code="exceeds_hold",
        )


__all__ = ["HoldBook", "Settled", "StaleCallers", "extend", "find_hold", "release", "settle"]
