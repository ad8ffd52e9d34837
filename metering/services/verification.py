"""The proof that events, balances, roll-ups and overage say the same, from the raw events, in one snapshot.

Nothing is changed and nobody waits: one read-only transaction at one instant. What workers have not got to yet (events
above the watermark, overage of the last minutes) is a tail and no difference.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import chain, islice
from typing import Final
from uuid import UUID

from common.ids import Prefix, decode_id, encode_id
from common.quantities import format_quantity
from metering.domain.enums import OverageStatus
from metering.domain.numbers import EXACT, ZERO, sum_exact
from metering.domain.prices import PriceError, PriceTerms
from metering.domain.rating import rate
from metering.models import Balance, OverageRecord
from metering.selectors.billing import Excess, excess_of_licenses
from metering.selectors.carried_proofs import differing_carried
from metering.selectors.history import kept_since
from metering.selectors.kept_values import differing_values
from metering.selectors.proofs import MOST, Counts, Proofs
from metering.selectors.rolling_proofs import missing_parts
from metering.selectors.value_proofs import UnequalValue, unequal_values
from metering.services import overage, rollups
from metering.services.cursors import Position, cursor_name, read_cursor
from metering.services.overage_records import lines_as_json
from metering.services.snapshots import batches, in_snapshot, one_snapshot
from tenants.models import Tenant

_AT_ONCE = 500
#: Parts of the workspaces for each connection.
_PARTS = 4


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not what the raw events say. `subject` is its public id, `text` a sentence with all ids."""

    kind: str
    tenant_id: UUID
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found, and how much was looked at."""

    differences: tuple[Difference, ...]
    counts: Counts

    @property
    def events(self) -> int:
        return self.counts.events

    @property
    def summary(self) -> str:
        """One line for people: how much was looked at and what came of it."""
        counts = self.counts
        found = len(self.differences)
        verdict = "no difference" if not found else f"{found} difference{'s' if found > 1 else ''}"
        return (
            f"{verdict}: {counts.events} events ({counts.waiting} not rolled up yet), {counts.event_ids} event ids, "
            f"{counts.balances} balances, {counts.hold_lines} hold lines, {counts.rollups} roll-ups, "
            f"{counts.overages} overage records"
        )


def verify_ledger(*, tenant: Tenant | None = None, jobs: int = 1) -> Proof:
    """Recompute everything from the raw events and say what differs, of all workspaces or of one.

    With `jobs` above 1 so many connections share the snapshot and the work, by workspaces and by checks. Must not run
    inside another transaction: it has a snapshot of its own.
    """
    with one_snapshot() as snapshot:
        position = read_cursor(cursor_name(rollups.WORK))
        asked = _Asked(
            tenants=None if tenant is None else (tenant.id,),
            kept_since=kept_since(),
            watermark=position.watermark if position and position.moved_at else 0,
            accrued=read_cursor(cursor_name(overage.WHOLE)),
        )
        if jobs == 1:
            found = [list(check(asked)) for check in _CHECKS]
            counts = asked.proofs.counts(asked.watermark)
        else:
            work = [partial(_list, check, part) for check in _CHECKS for part in _parts(asked, jobs)]
            found = in_snapshot(snapshot, work, at_once=jobs)
            [counts] = in_snapshot(snapshot, [partial(_count, asked)], at_once=1)
    return Proof(tuple(chain.from_iterable(found)), counts)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is looked at: workspaces (None: all), and how far workers have got in this snapshot."""

    tenants: Sequence[UUID] | None
    kept_since: datetime | None
    watermark: int
    accrued: Position | None

    @property
    def proofs(self) -> Proofs:
        """The statements, for whichever connection is this thread's."""
        return Proofs(self.tenants, kept_since=self.kept_since)


def _parts(asked: _Asked, jobs: int) -> list[_Asked]:
    """The workspaces in parts, a few for each connection, so that a large one does not keep all others waiting."""
    if asked.tenants is not None:
        return [asked]
    tenants = list(Tenant.objects.order_by("id").values_list("id", flat=True))
    parts = min(len(tenants), jobs * _PARTS)
    return [replace(asked, tenants=tenants[first::parts]) for first in range(parts)] or [asked]


def _list(check: Callable[[_Asked], Iterator[Difference]], asked: _Asked) -> list[Difference]:
    return list(check(asked))


def _count(asked: _Asked) -> Counts:
    return asked.proofs.counts(asked.watermark)


def _rolled_up(asked: _Asked) -> Iterator[Difference]:
    return _rollups(asked.proofs, asked.watermark) if asked.watermark else iter(())


def _balances(proofs: Proofs) -> Iterator[Difference]:
    for found in proofs.balances():
        balance = encode_id(Prefix.BALANCE, found.id)
        sought = _number(found.least)
        if found.least != found.most:
            sought += f" to {_number(found.most)}"
        yield Difference(
            "balance",
            found.tenant_id,
            balance,
            f"{balance} of subject {found.subject_id} from {found.period_start.isoformat()} has used "
            f"{_number(found.used)}, its events come to {sought}.",
        )


def _values(asked: _Asked) -> Iterator[Difference]:
    whole = unequal_values(asked.tenants, kept_since=asked.kept_since, limit=MOST)
    rest = (
        UnequalValue(each.id, each.tenant_id, each.subject_id, each.period_start, each.used, each.sought)
        for each in differing_values(asked.tenants, kept_since=asked.kept_since, rest=True)
    )
    for found in chain(whole, rest):
        balance = encode_id(Prefix.BALANCE, found.id)
        text = (
            f"{balance} of subject {found.subject_id} from {found.period_start.isoformat()} has used "
            f"{_number(found.used)}, its events come to {_number(found.sought)}."
        )
        if found.used == found.sought:
            text = f"{balance} knows other values than its events carry, or how often each."
        yield Difference("balance", found.tenant_id, balance, text)


def _held(proofs: Proofs) -> Iterator[Difference]:
    for found in proofs.held():
        balance = encode_id(Prefix.BALANCE, found.id)
        text = f"{balance} holds {_number(found.held)}, its open hold lines reserve {_number(found.reserved)}."
        yield Difference("held", found.tenant_id, balance, text)


def _late_entries(proofs: Proofs) -> Iterator[Difference]:
    for tenant_id, event_id, balance_id, quantity, sought in proofs.late_entries():
        event, balance = encode_id(Prefix.EVENT, event_id), encode_id(Prefix.BALANCE, balance_id)
        is_there = "which does not exist" if sought is None else f"which is {_number(sought)}"
        text = f"{balance} has counted {_number(quantity)} for the late {event}, {is_there}."
        yield Difference("late_entry", tenant_id, event, text)


def _register(proofs: Proofs) -> Iterator[Difference]:
    for tenant_id, event_id, client_id, license_id in proofs.unregistered():
        event, license = encode_id(Prefix.EVENT, event_id), encode_id(Prefix.LICENSE, license_id)
        text = f"{event} ({client_id!r} of {license}) is counted, but no id in the register names it."
        yield Difference("event_id", tenant_id, event, text)
    for tenant_id, digest, event_id in proofs.registered_only():
        event = encode_id(Prefix.EVENT, event_id)
        text = f"The register's id {digest} names {event}, which does not exist."
        yield Difference("event", tenant_id, event, text)
    for tenant_id, event_id, license_id, client_id in islice(proofs.misnamed(), MOST):
        event, license = encode_id(Prefix.EVENT, event_id), encode_id(Prefix.LICENSE, license_id)
        text = f"{event} says it is {client_id!r} of {license}, the register has it under another id."
        yield Difference("event_id", tenant_id, event, text)


def _rollups(proofs: Proofs, watermark: int) -> Iterator[Difference]:
    for found in proofs.rollups(watermark):
        license, meter = encode_id(Prefix.LICENSE, found.license_id), encode_id(Prefix.METER, found.meter_id)
        yield Difference(
            "rollup",
            found.tenant_id,
            license,
            f"The {found.size} from {found.bucket_start.isoformat()} of {license} and {meter} is rolled up as "
            f"{_number(found.total)} in {found.events} events; they are {_number(found.sought)} in "
            f"{found.events_sought}.",
        )


def _top_ups(proofs: Proofs) -> Iterator[Difference]:
    for tenant_id, top_up_id, used, burnt in proofs.top_ups():
        top_up = encode_id(Prefix.TOP_UP, top_up_id)
        text = f"{top_up} has {_number(used)} used, balances have burnt {_number(burnt)} of it."
        yield Difference("top_up", tenant_id, top_up, text)


def _burned(proofs: Proofs) -> Iterator[Difference]:
    for tenant_id, balance_id, burned, burnt in proofs.burned():
        balance = encode_id(Prefix.BALANCE, balance_id)
        text = f"{balance} says that top-ups cover {_number(burned)} of it, its burns come to {_number(burnt)}."
        yield Difference("burned", tenant_id, balance, text)


def _carried(asked: _Asked) -> Iterator[Difference]:
    for found in islice(differing_carried(asked.tenants), MOST):
        balance = encode_id(Prefix.BALANCE, found.id)
        sought = " or ".join(map(_number, found.sought))
        text = (
            f"{balance} from {found.period_start.isoformat()} was brought {_number(found.brought)} and carries "
            f"{_number(found.carried)} over; by the period before and the quota's terms it is {sought}."
        )
        yield Difference("carried", found.tenant_id, balance, text)


def _windows(asked: _Asked) -> Iterator[Difference]:
    for found in missing_parts(asked.tenants):
        event, sibling = encode_id(Prefix.EVENT, found.event_id), encode_id(Prefix.BALANCE, found.sibling)
        text = (
            f"{event} counts in the rolling window of {sibling}, which has no part for {found.occurred_at.isoformat()}."
        )
        yield Difference("window", found.tenant_id, event, text)


def _bills(proofs: Proofs) -> Iterator[Difference]:
    """A bill that was announced stays as it was announced."""
    for announced in batches(proofs.finalized(), _AT_ONCE):
        ids = [decode_id(Prefix.OVERAGE, subject) for _, subject, _, _ in announced]
        kept = OverageRecord.objects.exclude(status=OverageStatus.OPEN).only("id", "amount", "currency").in_bulk(ids)
        for id, (tenant_id, subject, amount, currency) in zip(ids, announced, strict=True):
            record = kept.get(id)
            if record is None:
                text = f"{subject} was announced as final with {amount} {currency}, and is not there any more."
                yield Difference("overage", tenant_id, subject, text)
            elif (record.amount, record.currency) != (Decimal(amount), currency):
                text = (
                    f"{subject} was announced as final with {amount} {currency}, and is "
                    f"{_number(record.amount)} {record.currency} now."
                )
                yield Difference("overage", tenant_id, subject, text)


def _records(tenants: Sequence[UUID] | None) -> Iterator[Difference]:
    """Each record is worth what its own usage, limit and price say; a final one, as corrected, what its balance has."""
    records = OverageRecord.objects.filter(status__in=[OverageStatus.OPEN, OverageStatus.FINALIZED]).order_by("id")
    if tenants is not None:
        records = records.filter(tenant_id__in=tenants)
    corrections: dict[UUID, list[OverageRecord]] = defaultdict(list)
    for correction in OverageRecord.objects.filter(status=OverageStatus.CREDIT, corrects__in=records.order_by()):
        corrections[correction.corrects_id or correction.id].append(correction)
    used = dict(
        Balance.objects.filter(id__in=records.order_by().values("balance_id")).values_list("id", "used"),
    )
    for record in records:
        for text in _of_record(record, sorted(corrections[record.id], key=_by_age), used.get(record.balance_id)):
            yield Difference("overage", record.tenant_id, record.public_id, f"{record.public_id} {text}")


def _by_age(record: OverageRecord) -> UUID:
    return record.id


def _of_record(record: OverageRecord, corrections: Sequence[OverageRecord], used: Decimal | None) -> Iterator[str]:
    balance = encode_id(Prefix.BALANCE, record.balance_id)
    if used is None:
        yield f"belongs to {balance}, which does not exist."
    elif corrections:
        yield from _of_corrected(record, corrections, used)
    elif record.status == OverageStatus.FINALIZED and used != record.used:
        yield f"is final with {_number(record.used)} used, {balance} has {_number(used)}."
    quantity = max(EXACT.subtract(record.used, record.limit), ZERO)
    if quantity != record.quantity:
        yield (
            f"is {_number(record.quantity)} over; {_number(record.used)} used of {_number(record.limit)} is "
            f"{_number(quantity)}."
        )
    try:
        rated = rate(record.quantity, PriceTerms.from_mapping(record.price))
    except (PriceError, ValueError, ArithmeticError) as error:
        yield f"has a price that cannot be applied: {error}"
        return
    if rated.amount != record.amount:
        yield f"is {_number(record.amount)} {record.currency}; by its price it is {_number(rated.amount)}."
    elif lines_as_json(rated) != record.lines:
        yield "has lines that are not those of its price."


def _of_corrected(record: OverageRecord, corrections: Sequence[OverageRecord], used: Decimal) -> Iterator[str]:
    """A bill and its corrections add up to what its balance's usage costs by the terms of the last of them."""
    last = corrections[-1]
    quantity = max(EXACT.subtract(used, last.limit), ZERO)
    over = sum_exact(each.quantity for each in [record, *corrections])
    amount = sum_exact(each.amount for each in [record, *corrections])
    if over != quantity:
        yield f"and its corrections are {_number(over)} over; its balance is {_number(quantity)} over."
    try:
        right = rate(quantity, PriceTerms.from_mapping(last.price)).amount
    except (PriceError, ValueError, ArithmeticError) as error:
        yield f"has a correction whose price cannot be applied: {error}"
        return
    if amount != right:
        yield (
            f"and its corrections are {_number(amount)} {record.currency}; by the price of {last.public_id} they are "
            f"{_number(right)}."
        )


def _accrual(proofs: Proofs, tenants: Sequence[UUID] | None, position: Position | None) -> Iterator[Difference]:
    """Where accrual has been since the last use and the last change of terms, its records are there and current."""
    if position is None or position.moved_at is None:
        return
    settled = list(proofs.settled(position.moved_at))
    licenses = sorted({(tenant, license) for _, tenant, license, _ in settled})
    excesses: dict[UUID, Excess] = {}
    for first in range(0, len(licenses), _AT_ONCE):
        excesses |= {each.balance_id: each for each in excess_of_licenses(licenses[first : first + _AT_ONCE])}
    records = OverageRecord.objects.filter(status=OverageStatus.OPEN)
    if tenants is not None:
        records = records.filter(tenant_id__in=tenants)
    kept = {record.balance_id: record for record in records}
    for balance_id, tenant, _, used in settled:
        balance = encode_id(Prefix.BALANCE, balance_id)
        excess, record = excesses.get(balance_id), kept.get(balance_id)
        if excess is not None and record is None:
            text = f"{balance} has {_number(used)} used of {_number(excess.allowance)}, and there is no overage record."
            yield Difference("overage", tenant, balance, text)
        elif record is not None:
            for text in _of_accrued(record, excess, used):
                yield Difference("overage", tenant, record.public_id, f"{record.public_id} {text}")


def _of_accrued(record: OverageRecord, excess: Excess | None, used: Decimal) -> Iterator[str]:
    balance = encode_id(Prefix.BALANCE, record.balance_id)
    if record.used != used:
        yield f"says {_number(record.used)} used, {balance} has {_number(used)}."
    if excess is None:
        yield f"is open, and {balance} has nothing to bill."
    elif record.limit != excess.allowance:
        yield f"says a limit of {_number(record.limit)}, {balance} may use {_number(excess.allowance)}."


def _number(value: Decimal) -> str:
    return format_quantity(value)


#: In the order in which differences are told.
_CHECKS: Final[Sequence[Callable[[_Asked], Iterator[Difference]]]] = (
    lambda asked: _balances(asked.proofs),
    _values,
    lambda asked: _held(asked.proofs),
    lambda asked: _late_entries(asked.proofs),
    lambda asked: _register(asked.proofs),
    _rolled_up,
    lambda asked: _top_ups(asked.proofs),
    lambda asked: _burned(asked.proofs),
    _carried,
    _windows,
    lambda asked: _bills(asked.proofs),
    lambda asked: _records(asked.tenants),
    lambda asked: _accrual(asked.proofs, asked.tenants, asked.accrued),
)
