"""Holds: reserve an estimate, count the truth, give the rest back. A crash in between costs nothing but the TTL.

Every change of a hold locks in the ledger's order: configuration, balances, then the holds and their lines.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from common.errors import Conflict, Problem
from common.quantities import format_quantity
from licenses.selectors.access import load_agent
from metering.domain.enums import EventKind, HoldStatus, OnExcess
from metering.domain.numbers import EXACT, ZERO
from metering.domain.requests import Request
from metering.domain.terms import Caller
from metering.models import Hold, HoldLine
from metering.selectors.terms import load_caller
from metering.services import ledger_sql
from metering.services.expiring_holds import tell_expired
from metering.services.hold_rows import LockedHold, balances_of, find_holds, lines_of, lock_holds, write_holds
from metering.services.open_holds import lock_places
from metering.services.settling import over


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
class HoldAsk:
    """Somebody acts on a hold, at this time of the workspace."""

    caller: Caller
    hold_id: UUID
    at: datetime


def release_many(asks: Sequence[HoldAsk]) -> list[Hold | Problem]:
    """Give all back, in one transaction. Releasing twice, or what has expired, is the same as once.

    NotFound, Conflict `hold_settled`. Raises Busy where `short_patience` ran out.
    """
    outcomes: list[Hold | Problem] = list(find_holds([(ask.caller, ask.hold_id) for ask in asks]))
    found = [hold for hold in outcomes if isinstance(hold, Hold)]
    if not found:
        return outcomes
    balance_ids = balances_of(found)
    with transaction.atomic():
        opened = ledger_sql.open_batch(list({hold.tenant_id for hold in found}), (), balance_ids, ())
        locked = lock_holds(found)
        changed: list[LockedHold] = []
        for place, (ask, hold) in enumerate(zip(asks, outcomes, strict=True)):
            if not isinstance(hold, Hold):
                continue
            row = locked[hold.id]
            outcomes[place] = row.hold
            if row.hold.status == HoldStatus.SETTLED:
                outcomes[place] = Conflict("hold_settled", "The hold is settled: what was counted stays counted.")
            elif row.hold.status == HoldStatus.OPEN:
                row.hold.status = HoldStatus.EXPIRED if row.hold.expires_at <= ask.at else HoldStatus.RELEASED
                row.hold.closed_at = ask.at
                for line in row.lines:
                    balance = opened.balances[line.balance_id]
                    balance.held = EXACT.subtract(balance.held, line.reserved)
                    balance.changed = True
                    line.reserved, line.open = ZERO, False
                changed.append(row)
        write_holds(changed)
        tell_expired([row.hold.id for row in changed if row.hold.status == HoldStatus.EXPIRED])
        ledger_sql.update_balances(opened.balances.values())
    return outcomes


def release(*, caller: Caller, hold_id: UUID, at: datetime) -> Hold:
    """Give all back. Raises NotFound, Conflict `hold_settled`."""
    return _one(release_many([HoldAsk(caller, hold_id, at)]))


def extend_many(asks: Sequence[HoldAsk], ttls: Sequence[int]) -> list[Hold | Problem]:
    """Let open holds end so many seconds from now, in one transaction.

    NotFound, Conflict `hold_settled`, `hold_released`, `hold_expired`. Raises Busy where `short_patience` ran out.
    """
    began = time.monotonic()
    outcomes: list[Hold | Problem] = list(find_holds([(ask.caller, ask.hold_id) for ask in asks]))
    found = [hold for hold in outcomes if isinstance(hold, Hold)]
    if not found:
        return outcomes
    balance_ids = balances_of(found)
    holders = [holder_of(hold, ask.caller) for ask, hold in zip(asks, outcomes, strict=True) if isinstance(hold, Hold)]
    limits = {limit for holder in holders if holder is not None for limit in holder.hold_limits}
    with transaction.atomic():
        ledger_sql.open_batch(list({hold.tenant_id for hold in found}), (), balance_ids, ())
        locked = lock_holds(found)
        lock_places(list(limits))
        # Who had the locks may have taken the place of a hold that ended while this call waited.
        waited = timedelta(seconds=time.monotonic() - began)
        reserves_in = _balances_by_hold(found)
        changed: dict[UUID, LockedHold] = {}
        for place, (ask, ttl, hold) in enumerate(zip(asks, ttls, outcomes, strict=True)):
            if not isinstance(hold, Hold):
                continue
            row = locked[hold.id]
            # An ask that came first, by a clock that is ahead, may have given back what it reserved.
            is_swept = {line.balance_id for line in row.lines} != reserves_in[hold.id]
            if row.hold.status != HoldStatus.OPEN or row.hold.expires_at <= ask.at + waited or is_swept:
                outcomes[place] = over(row.hold)
                continue
            row.hold.expires_at = ask.at + timedelta(seconds=ttl)
            for line in row.lines:
                line.expires_at = row.hold.expires_at
            outcomes[place] = row.hold
            changed[hold.id] = row
        write_holds(changed.values())
    return outcomes


def holder_of(hold: Hold, caller: Caller) -> Caller | None:
    """Whose usage it is: of the agent that holds, whoever above it settles. None if that one is gone."""
    if hold.agent_id is None or hold.agent_id == caller.agent_id:
        return caller
    access = load_agent(hold.tenant_id, hold.agent_id)
    return None if access is None else load_caller(access)


def _balances_by_hold(holds: Sequence[Hold]) -> dict[UUID, set[UUID]]:
    found: dict[UUID, set[UUID]] = {hold.id: set() for hold in holds}
    for hold_id, balance_id in lines_of(holds).values_list("hold_id", "balance_id"):
        found[hold_id].add(balance_id)
    return found


def _one(outcomes: Sequence[Hold | Problem]) -> Hold:
    [outcome] = outcomes
    if isinstance(outcome, Problem):
        raise outcome
    return outcome


def _hold_id(request: Request) -> UUID:
    if request.hold_id is None:
        raise TypeError("a request of kind hold names its hold")
    return request.hold_id
