"""Overage records held against what was announced, their own terms, their balances, and what accrual would write.

All of them are read in portions, each found by its ids, so that memory does not grow with how many there are.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Final, NamedTuple
from uuid import UUID

from common.ids import Prefix, decode_id, encode_id
from common.quantities import format_quantity
from metering.domain.enums import OverageStatus
from metering.domain.numbers import EXACT, ZERO, sum_exact
from metering.domain.prices import PriceError, PriceTerms
from metering.domain.rating import rate
from metering.models import Balance, OverageRecord
from metering.selectors.billing import Excess, excess_of_licenses
from metering.selectors.proofs import Proofs
from metering.services.cursors import Position
from metering.services.overage_records import lines_as_json
from metering.services.snapshots import batches, found_by_key

_AT_ONCE: Final = 500


class WrongRecord(NamedTuple):
    """Something that is wrong with overage. `subject` is the record's public id, or the balance's that has none."""

    tenant_id: UUID
    subject: str
    text: str


def changed_bills(proofs: Proofs) -> Iterator[WrongRecord]:
    """A bill that was announced stays as it was announced."""
    for announced in batches(proofs.finalized(), _AT_ONCE):
        ids = [decode_id(Prefix.OVERAGE, subject) for _, subject, _, _ in announced]
        kept = OverageRecord.objects.exclude(status=OverageStatus.OPEN).only("id", "amount", "currency").in_bulk(ids)
        for id, (tenant_id, subject, amount, currency) in zip(ids, announced, strict=True):
            record = kept.get(id)
            if record is None:
                text = f"{subject} was announced as final with {amount} {currency}, and is not there any more."
                yield WrongRecord(tenant_id, subject, text)
            elif (record.amount, record.currency) != (Decimal(amount), currency):
                text = (
                    f"{subject} was announced as final with {amount} {currency}, and is "
                    f"{_number(record.amount)} {record.currency} now."
                )
                yield WrongRecord(tenant_id, subject, text)


def wrong_records(tenants: Sequence[UUID] | None) -> Iterator[WrongRecord]:
    """Each record is worth what its own usage, limit and price say; a final one, as corrected, what its balance has."""
    records = OverageRecord.objects.filter(status__in=[OverageStatus.OPEN, OverageStatus.FINALIZED]).order_by("id")
    if tenants is not None:
        records = records.filter(tenant_id__in=tenants)
    for portion in batches(records.iterator(_AT_ONCE), _AT_ONCE):
        corrections: dict[UUID | None, list[OverageRecord]] = defaultdict(list)
        of_portion = OverageRecord.objects.filter(
            status=OverageStatus.CREDIT, corrects__in=[record.id for record in portion]
        )
        for correction in of_portion.order_by("id"):
            corrections[correction.corrects_id].append(correction)
        balances = [record.balance_id for record in portion]
        used = dict(Balance.objects.filter(id__in=balances).values_list("id", "used"))
        for record in portion:
            for text in _of_record(record, corrections[record.id], used.get(record.balance_id)):
                yield WrongRecord(record.tenant_id, record.public_id, f"{record.public_id} {text}")


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


def unsettled_records(proofs: Proofs, position: Position | None) -> Iterator[WrongRecord]:
    """Where accrual has been since the last use and the last change of terms, its records are there and current."""
    if position is None or position.moved_at is None:
        return
    of_licenses = groupby(proofs.settled(position.moved_at), key=lambda row: row[:2])
    for portion in batches(((license, list(rows)) for license, rows in of_licenses), _AT_ONCE):
        settled = [row for _, rows in portion for row in rows]
        with found_by_key():
            excesses = {each.balance_id: each for each in excess_of_licenses(license for license, _ in portion)}
        records = OverageRecord.objects.filter(
            status=OverageStatus.OPEN, balance_id__in=[balance_id for _, _, balance_id, _ in settled]
        )
        kept = {record.balance_id: record for record in records}
        for tenant, _, balance_id, used in settled:
            balance = encode_id(Prefix.BALANCE, balance_id)
            excess, record = excesses.get(balance_id), kept.get(balance_id)
            if excess is not None and record is None:
                text = (
                    f"{balance} has {_number(used)} used of {_number(excess.allowance)}, and there is no overage "
                    "record."
                )
                yield WrongRecord(tenant, balance, text)
            elif record is not None:
                for text in _of_accrued(record, excess, used):
                    yield WrongRecord(tenant, record.public_id, f"{record.public_id} {text}")


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
