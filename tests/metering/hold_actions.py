"""One hold settled or extended, as the doors do it for many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from common.errors import NotFound, Problem
from metering.domain.holds import SettledLine
from metering.domain.requests import Verdict
from metering.domain.terms import Caller
from metering.models import Hold
from metering.services.hold_rows import find_holds
from metering.services.holds import HoldAsk, extend_many, holder_of
from metering.services.ledger import post
from metering.services.settling import SettlementBook, settlement_of


@dataclass(frozen=True)
class Settled:
    hold: Hold
    event_ids: tuple[UUID, ...]
    replayed: bool


def settle(
    *, caller: Caller, hold_id: UUID, asked: Sequence[SettledLine], id: str | None, final: bool, at: datetime
) -> Settled:
    """Raises what `outcome` says."""
    [hold] = find_holds([(caller, hold_id)])
    if isinstance(hold, Problem):
        raise hold
    holder = holder_of(hold, caller)
    if holder is None:
        raise NotFound
    settlement = settlement_of(caller=holder, hold=hold, asked=asked, id=id, final=final, at=at)
    book = SettlementBook([settlement])
    post([settlement.request], companion=book.store, extra_balances=book.balances(), before=book.under_lock)
    problem = settlement.outcome()
    if problem is not None:
        raise problem
    return Settled(settlement.hold, settlement.event_ids, settlement.request.verdict is Verdict.REPLAYED)


def extend(*, caller: Caller, hold_id: UUID, ttl: int, at: datetime) -> Hold:
    """Raises NotFound, Conflict."""
    [hold] = extend_many([HoldAsk(caller, hold_id, at)], [ttl])
    if isinstance(hold, Problem):
        raise hold
    return hold
