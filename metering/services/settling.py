"""Settling holds: count what was really used, give the rest back. Many at once are one batch of the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.conf import settings

from common.errors import Conflict, Invalid, Problem
from common.ids import Prefix, encode_id, new_id
from common.quantities import format_quantity
from metering.domain.digests import Digest
from metering.domain.enums import EventFlag, EventKind, HoldStatus, OnExcess
from metering.domain.holds import HeldLine, SettledLine, cap, counted_of, excess, match_lines, to_release
from metering.domain.numbers import EXACT, ZERO
from metering.domain.quota_keys import event_digest
from metering.domain.requests import Line, Request, Verdict
from metering.domain.terms import Caller
from metering.models import Hold, UsageEvent
from metering.services import ledger_sql
from metering.services.hold_rows import LockedHold, balances_of, lock_holds, write_holds
from metering.services.lines import reprice
from metering.services.payloads import settlement_fingerprint

_MAX_CLIENT_ID: Final = UsageEvent._meta.get_field("client_id").max_length


@dataclass(slots=True, eq=False)
class Settlement:
    """One settlement on its way: `request` as the ledger takes it, `hold` as it stands, locked once it was posted.

    `problem` is why the hold does not take it; nothing is counted then.
    """

    hold: Hold
    asked: Sequence[SettledLine]
    final: bool
    request: Request
    problem: Problem | None = None

    def outcome(self) -> Problem | None:
        """Once it is posted: None where it was counted, now or before.

        Invalid `exceeds_hold`, where the hold rejects excess; Conflict `hold_settled`, `hold_released`, `hold_expired`
        (longer ago than the acceptance window), `id_conflict`.
        """
        if self.request.verdict is not Verdict.CONFLICT:
            return None
        if self.problem is not None:
            return self.problem
        if self.request.known is not None and self.hold.status != HoldStatus.SETTLED:
            return Conflict("id_conflict", "Another settlement of this hold has the same id. Take a new id.")
        return over(self.hold)

    @property
    def event_ids(self) -> tuple[UUID, ...]:
        """Of what it counted, also if that was done before."""
        known = self.request.known
        return tuple(known.event_ids if known else self.request.event_ids)


def settlement_of(
    *, caller: Caller, hold: Hold, asked: Sequence[SettledLine], id: str | None, final: bool, at: datetime
) -> Settlement:
    """What is to be posted, beside a `SettlementBook`; `caller` is whoever holds. Idempotent by body (and `id`)."""
    held = _held_lines(hold)
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
            for line, place in zip(asked, match_lines(held, asked), strict=True)
        ],
        at=at,
        hold_id=hold.id,
    )
    return Settlement(hold, asked, final, request)


@dataclass(slots=True)
class SettlementBook:
    """The ledger's companion for a batch's settlements: fits them to their holds, in order, and writes those."""

    settlements: Sequence[Settlement]
    _locked: Mapping[UUID, LockedHold] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.settlements)

    def balances(self) -> set[UUID]:
        """The balances in which the holds reserve, to be locked with the others."""
        return balances_of([settlement.hold for settlement in self.settlements])

    def under_lock(self) -> None:
        """Look at the holds as they stand, and say for each settlement what it counts and gives back.

        A batch that is done again begins anew.
        """
        requests = [settlement.request for settlement in self.settlements]
        self._locked = lock_holds([settlement.hold for settlement in self.settlements])
        # Read under the holds' locks: nobody else can settle them now, so that these ids stay free or taken.
        known = ledger_sql.read_ids(
            list({request.caller.tenant_id for request in requests}), [request.digest for request in requests]
        )
        seen: set[Digest] = set(known)
        for settlement in self.settlements:
            locked = self._locked[settlement.hold.id]
            settlement.hold, settlement.problem = locked.hold, None
            request = settlement.request
            request.releases = {}
            # What was settled already is no excess when it is sent again.
            request.only_replay = request.digest in seen or _is_over(locked.hold, request.at)
            if request.only_replay:
                continue
            settlement.problem = _rejection(locked.hold, settlement.asked)
            request.only_replay = settlement.problem is not None
            if not request.only_replay:
                seen.add(request.digest)
                _fit(settlement, locked)

    def store(self, accepted: Sequence[Request]) -> None:
        """Write the holds and their lines as the accepted settlements leave them."""
        mine = {id(request) for request in accepted}
        changed = {each.hold.id for each in self.settlements if id(each.request) in mine}
        write_holds(self._locked[hold_id] for hold_id in changed)


def over(hold: Hold) -> Conflict:
    """The refusal for a hold that has ended."""
    status = HoldStatus.EXPIRED if hold.status == HoldStatus.OPEN else HoldStatus(hold.status)
    return Conflict(f"hold_{status}", f"The hold is {status}.", extra={"hold": encode_id(Prefix.HOLD, hold.id)})


def _fit(settlement: Settlement, locked: LockedHold) -> None:
    """Cut the lines to a cap, say what is given back, and leave the hold as it is afterwards."""
    hold, asked, request = locked.hold, settlement.asked, settlement.request
    held = _held_lines(hold)
    places = match_lines(held, asked)
    if hold.on_excess == OnExcess.CAP:
        for line, quantity in zip(request.lines, cap(held, asked, places), strict=True):
            line.quantity = ZERO if EventFlag.NOT_COUNTED in line.flags else quantity
        reprice(request)
    released: dict[UUID, Decimal] = {}
    for held_line in locked.lines:
        if not held_line.open:
            continue
        reserved = held_line.reserved
        of_part = counted_of(held_line.line, asked, places)
        quantity = (
            reserved if settlement.final else to_release(held[held_line.line], of_part, held_line.quantity, reserved)
        )
        held_line.reserved = EXACT.subtract(reserved, quantity)
        held_line.open = not settlement.final
        released[held_line.balance_id] = EXACT.add(released.get(held_line.balance_id, ZERO), quantity)
    request.releases = released
    settled = [line.settled for line in held]
    for place, line in zip(places, request.lines, strict=True):
        if place is not None:
            settled[place] = EXACT.add(settled[place], line.quantity)
    hold.settled = [format_quantity(quantity) for quantity in settled]
    if settlement.final:
        hold.status, hold.closed_at = HoldStatus.SETTLED, request.at


def _rejection(hold: Hold, asked: Sequence[SettledLine]) -> Problem | None:
    if hold.on_excess != OnExcess.REJECT:
        return None
    held = _held_lines(hold)
    more = excess(held, asked, match_lines(held, asked))
    if more <= 0:
        return None
    detail = f"This is {format_quantity(more)} more than is held, and the hold rejects excess. Nothing was counted."
    return Invalid(detail, code="exceeds_hold")


def _is_over(hold: Hold, at: datetime) -> bool:
    window: timedelta = settings.PERMETER_ACCEPTANCE_WINDOW
    return hold.status in (HoldStatus.SETTLED, HoldStatus.RELEASED) or hold.expires_at + window < at


def _held_lines(hold: Hold) -> list[HeldLine]:
    return [
        HeldLine(line["meter"], Decimal(line["quantity"]), Decimal(settled), line["dimensions"])
        for line, settled in zip(hold.usage, hold.settled, strict=True)
    ]
