"""The proof that events, balances, roll-ups and overage say the same, from the raw events, in one snapshot.

Nothing is changed and nobody waits: one read-only transaction at one instant. What workers have not got to yet (events
above the watermark, overage of the last minutes) is a tail and no difference.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import chain, islice
from typing import Final
from uuid import UUID

from common.ids import Prefix, encode_id
from common.quantities import format_quantity
from metering.selectors.carried_proofs import differing_carried
from metering.selectors.history import kept_since
from metering.selectors.kept_values import differing_values
from metering.selectors.proofs import Counts, Proofs
from metering.selectors.register_proofs import Fault, differing_ids
from metering.selectors.rolling_proofs import missing_parts
from metering.selectors.usage_proofs import MOST, BalanceProof, RollupProof, differing_usage
from metering.selectors.value_proofs import UnequalValue, unequal_values
from metering.services import overage, rollups
from metering.services.cursors import Position, cursor_name, read_cursor
from metering.services.overage_proofs import WrongRecord, changed_bills, unsettled_records, wrong_records
from metering.services.snapshots import in_snapshot, one_snapshot
from tenants.models import Tenant

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


def _usage(asked: _Asked) -> Iterator[Difference]:
    """Balances that add up, and roll-ups: one pass over the events answers for both."""
    for found in differing_usage(asked.tenants, kept_since=asked.kept_since, watermark=asked.watermark):
        yield _of_balance(found) if isinstance(found, BalanceProof) else _of_bucket(found)


def _of_balance(found: BalanceProof) -> Difference:
    balance = encode_id(Prefix.BALANCE, found.id)
    sought = _number(found.least)
    if found.least != found.most:
        sought += f" to {_number(found.most)}"
    text = (
        f"{balance} of subject {found.subject_id} from {found.period_start.isoformat()} has used "
        f"{_number(found.used)}, its events come to {sought}."
    )
    return Difference("balance", found.tenant_id, balance, text)


def _of_bucket(found: RollupProof) -> Difference:
    license, meter = encode_id(Prefix.LICENSE, found.license_id), encode_id(Prefix.METER, found.meter_id)
    text = (
        f"The {found.size} from {found.bucket_start.isoformat()} of {license} and {meter} is rolled up as "
        f"{_number(found.total)} in {found.events} events; they are {_number(found.sought)} in {found.events_sought}."
    )
    return Difference("rollup", found.tenant_id, license, text)


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


def _register(asked: _Asked) -> Iterator[Difference]:
    for found in differing_ids(asked.tenants, kept_since=asked.kept_since):
        event = encode_id(Prefix.EVENT, found.event_id)
        license = found.license_id and encode_id(Prefix.LICENSE, found.license_id)
        texts = {
            Fault.UNREGISTERED: f"{event} ({found.client_id!r} of {license}) is counted, but no id in the register "
            "names it.",
            Fault.REGISTERED_ONLY: f"The register's id {found.digest} names {event}, which does not exist.",
            Fault.MISNAMED: f"{event} says it is {found.client_id!r} of {license}, the register has it under another "
            "id.",
        }
        kind = "event" if found.fault is Fault.REGISTERED_ONLY else "event_id"
        yield Difference(kind, found.tenant_id, event, texts[found.fault])


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


def _overage(found: Iterator[WrongRecord]) -> Iterator[Difference]:
    return (Difference("overage", *each) for each in found)


def _number(value: Decimal) -> str:
    return format_quantity(value)


#: In the order in which differences are told.
_CHECKS: Final[Sequence[Callable[[_Asked], Iterator[Difference]]]] = (
    _usage,
    _values,
    lambda asked: _held(asked.proofs),
    lambda asked: _late_entries(asked.proofs),
    _register,
    lambda asked: _top_ups(asked.proofs),
    lambda asked: _burned(asked.proofs),
    _carried,
    _windows,
    lambda asked: _overage(changed_bills(asked.proofs)),
    lambda asked: _overage(wrong_records(asked.tenants)),
    lambda asked: _overage(unsettled_records(asked.proofs, asked.accrued)),
)
