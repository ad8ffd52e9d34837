"""Receipts: usage of an agent that was offline, reported against the lease that was set aside for it.

A receipt is a usage event like any other: it counts once, in its own period, in any order. What it counts it also
gives back of the lease, so that nothing is reserved and used at once. Where the lease is gone, or used up, or of
other meters, it is plain usage.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from common.quantities import format_quantity
from metering.domain.digests import Digest
from metering.domain.enums import EventKind, HoldStatus
from metering.domain.holds import HeldLine, SettledLine, match_lines, to_release
from metering.domain.numbers import EXACT, ZERO
from metering.domain.requests import Request
from metering.domain.terms import Caller
from metering.models import Hold, HoldLine
from metering.services import ledger_sql
from tenants.models import TenantQuerySet


@dataclass(slots=True)
class _Lease:
    """A lease under lock, with what is still reserved of it, as the batch leaves it."""

    hold: Hold
    lines: list[HoldLine]
    settled: list[Decimal]

    @classmethod
    def of(cls, hold: Hold, lines: list[HoldLine]) -> "_Lease":
        return cls(hold, lines, [Decimal(quantity) for quantity in hold.settled])

    def held(self) -> list[HeldLine]:
        """Its usage lines, with what has been reported so far."""
        return [
            HeldLine(line["meter"], Decimal(line["quantity"]), settled, line["dimensions"])
            for line, settled in zip(self.hold.usage, self.settled, strict=True)
        ]


@dataclass(slots=True)
class _Taken:
    """What one receipt gives back: of which line of the hold, and of which balances' reservations."""

    place: int
    quantity: Decimal
    released: list[tuple[HoldLine, Decimal]]


@dataclass(slots=True)
class ReceiptBook:
    """The ledger's companion for a batch's receipts; false where it has none."""

    requests: Sequence[Request]
    _leases: dict[UUID, _Lease] = field(default_factory=dict)
    _taken: dict[int, _Taken] = field(default_factory=dict)

    @classmethod
    def among(cls, requests: Iterable[Request]) -> "ReceiptBook":
        """The receipts of a batch."""
        return cls([each for each in requests if each.kind is EventKind.USAGE and each.hold_id is not None])

    def __bool__(self) -> bool:
        return bool(self.requests)

    def balances(self) -> set[UUID]:
        """The balances that the leases reserve in, to be locked with the others."""
        return set(self._all_lines().values_list("balance_id", flat=True))

    def under_lock(self) -> None:
        """Look at the leases as they stand, and say for each receipt what it gives back."""
        tenant_ids = list({request.caller.tenant_id for request in self.requests})
        known = ledger_sql.read_ids(tenant_ids, [request.digest for request in self.requests])
        holds = Hold.objects.filter(tenant_id__in=tenant_ids, id__in=self._hold_ids()).order_by("id")
        locked = {hold.id: hold for hold in holds.select_for_update() if hold.status == HoldStatus.OPEN}
        lines: dict[UUID, list[HoldLine]] = {id: [] for id in locked}
        for line in self._all_lines().filter(hold_id__in=locked, open=True).select_for_update().order_by("id"):
            lines[line.hold_id].append(line)
        self._leases = {id: _Lease.of(hold, lines[id]) for id, hold in locked.items()}
        self._taken = {}
        seen: set[Digest] = set()
        for request in self.requests:
            # A batch that is done again begins anew; a repeat gives nothing back a second time.
            request.releases = None
            if request.digest in known or request.digest in seen:
                continue
            seen.add(request.digest)
            self._give_back(request)

    def store(self, accepted: Sequence[Request]) -> None:
        """Write the leases and their lines as the accepted receipts leave them."""
        mine = {id(request) for request in accepted}
        changed_lines: dict[int, HoldLine] = {}
        changed: dict[UUID, _Lease] = {}
        for request in self.requests:
            taken = self._taken.get(id(request))
            if taken is None or request.hold_id is None:
                continue
            lease = self._leases[request.hold_id]
            if id(request) not in mine:
                self._undo(lease, taken)
                continue
            changed[lease.hold.id] = lease
            changed_lines |= {id(line): line for line, _ in taken.released}
        for lease in changed.values():
            lease.hold.settled = [format_quantity(quantity) for quantity in lease.settled]
            lease.hold.save(update_fields=["settled", "updated_at"])
        HoldLine.objects.bulk_update(list(changed_lines.values()), ["reserved"])

    def _give_back(self, request: Request) -> None:
        lease = self._leases.get(request.hold_id) if request.hold_id else None
        if lease is None or lease.hold.expires_at <= request.at:
            return
        [line] = request.lines
        [place] = match_lines(
            lease.held(), [SettledLine(line.meter, line.quantity, line.dimensions if line.sent is None else line.sent)]
        )
        if place is None:
            return
        held = lease.held()[place]
        lease.settled[place] = EXACT.add(lease.settled[place], line.quantity)
        released: list[tuple[HoldLine, Decimal]] = []
        by_balance: dict[UUID, Decimal] = {}
        for held_line in lease.lines:
            if held_line.line != place:
                continue
            quantity = to_release(held, line.quantity, held_line.quantity, held_line.reserved)
            if quantity > 0:
                held_line.reserved = EXACT.subtract(held_line.reserved, quantity)
                released.append((held_line, quantity))
                by_balance[held_line.balance_id] = EXACT.add(by_balance.get(held_line.balance_id, ZERO), quantity)
        request.releases = by_balance or None
        self._taken[id(request)] = _Taken(place, line.quantity, released)

    def _undo(self, lease: _Lease, taken: _Taken) -> None:
        """Somebody else's event took its id meanwhile: it counted nothing, and gives nothing back."""
        lease.settled[taken.place] = EXACT.subtract(lease.settled[taken.place], taken.quantity)
        for line, quantity in taken.released:
            line.reserved = EXACT.add(line.reserved, quantity)

    def _hold_ids(self) -> set[UUID]:
        return {request.hold_id for request in self.requests if request.hold_id is not None}

    def _all_lines(self) -> TenantQuerySet[HoldLine]:
        tenant_ids = {request.caller.tenant_id for request in self.requests}
        return HoldLine.objects.filter(tenant_id__in=tenant_ids, hold_id__in=self._hold_ids())


def own_leases(caller: Caller, hold_ids: Collection[UUID]) -> Mapping[UUID, Hold]:
    """Those of these holds that the caller itself may report against, whatever has become of them."""
    holds = Hold.objects.for_tenant(caller.tenant_id).filter(id__in=hold_ids, license_id=caller.license_id)
    return {hold.id: hold for hold in holds if hold.agent_id == caller.agent_id}
