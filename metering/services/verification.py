"""The proof that events, balances, roll-ups and overage say the same, from the raw events, in one snapshot.

Nothing is changed and nobody waits: one read-only transaction at one instant. What workers have not got to yet (events
above the watermark, overage of the last minutes) is a tail and no difference.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from uuid import UUID

from django.db import connection, transaction

from common.ids import Prefix, encode_id
from common.quantities import format_quantity
from metering.domain.enums import OverageStatus
from metering.domain.numbers import EXACT, ZERO
from metering.domain.prices import PriceError, PriceTerms
from metering.domain.rating import rate
from metering.models import Balance, OverageRecord
from metering.selectors.billing import Excess, excess_of_licenses
from metering.selectors.proofs import MOST, Counts, Proofs
from metering.services import overage, rollups
from metering.services.cursors import Position, cursor_name, read_cursor
from metering.services.overage_records import lines_as_json
from tenants.models import Tenant

# Everything is joined with everything that belongs to it: hashes do that in one pass, whatever the planner guesses.
_SNAPSHOT = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SET LOCAL enable_nestloop = off; SET LOCAL jit = off; SET LOCAL work_mem = '64MB'
"""
_AT_ONCE = 500


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


def verify_ledger(*, tenant: Tenant | None = None) -> Proof:
    """Recompute everything from the raw events and say what differs, of all workspaces or of one.

    Must not run inside another transaction: it has a snapshot of its own.
    """
    tenant_id = tenant.id if tenant else None
    proofs = Proofs(tenant_id)
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute(_SNAPSHOT)
        position = read_cursor(cursor_name(rollups.WORK))
        watermark = position.watermark if position and position.moved_at else 0
        differences = [
            *_balances(proofs),
            *_held(proofs),
            *_late_entries(proofs),
            *_register(proofs),
            *(_rollups(proofs, watermark) if watermark else ()),
            *_top_ups(proofs),
            *_bills(proofs),
            *_records(tenant_id),
            *_accrual(proofs, tenant_id, read_cursor(cursor_name(overage.WHOLE))),
        ]
        return Proof(tuple(differences), proofs.counts(watermark))


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


def _bills(proofs: Proofs) -> Iterator[Difference]:
    """A bill that was announced stays as it was announced."""
    announced = {subject: (tenant_id, amount, currency) for tenant_id, subject, amount, currency in proofs.finalized()}
    kept = {
        record.public_id: record
        for record in OverageRecord.objects.exclude(status=OverageStatus.OPEN).only("id", "amount", "currency")
    }
    for subject, (tenant_id, amount, currency) in announced.items():
        record = kept.get(subject)
        if record is None:
            text = f"{subject} was announced as final with {amount} {currency}, and is not there any more."
            yield Difference("overage", tenant_id, subject, text)
        elif (record.amount, record.currency) != (Decimal(amount), currency):
            text = (
                f"{subject} was announced as final with {amount} {currency}, and is "
                f"{_number(record.amount)} {record.currency} now."
            )
            yield Difference("overage", tenant_id, subject, text)


def _records(tenant_id: UUID | None) -> Iterator[Difference]:
    """Each record is worth what its own usage, limit and price say; a final one has its balance's usage."""
    records = OverageRecord.objects.filter(status__in=[OverageStatus.OPEN, OverageStatus.FINALIZED]).order_by("id")
    if tenant_id is not None:
        records = records.for_tenant(tenant_id)
    used = dict(
        Balance.objects.filter(id__in=records.order_by().values("balance_id")).values_list("id", "used"),
    )
    for record in records:
        for text in _of_record(record, used.get(record.balance_id)):
            yield Difference("overage", record.tenant_id, record.public_id, f"{record.public_id} {text}")


def _of_record(record: OverageRecord, used: Decimal | None) -> Iterator[str]:
    balance = encode_id(Prefix.BALANCE, record.balance_id)
    if used is None:
        yield f"belongs to {balance}, which does not exist."
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


def _accrual(proofs: Proofs, tenant_id: UUID | None, position: Position | None) -> Iterator[Difference]:
    """Where accrual has been since the last use and the last change of terms, its records are there and current."""
    if position is None or position.moved_at is None:
        return
    settled = list(proofs.settled(position.moved_at))
    licenses = sorted({(tenant, license) for _, tenant, license, _ in settled})
    excesses: dict[UUID, Excess] = {}
    for first in range(0, len(licenses), _AT_ONCE):
        excesses |= {each.balance_id: each for each in excess_of_licenses(licenses[first : first + _AT_ONCE])}
    records = OverageRecord.objects.filter(status=OverageStatus.OPEN)
    if tenant_id is not None:
        records = records.for_tenant(tenant_id)
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
