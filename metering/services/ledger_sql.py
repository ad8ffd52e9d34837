"""The ledger's statements: set-based, a fixed number for any batch, in the global order of locks.

Configuration, balances, hold lines, ids. Each function runs inside the batch's transaction.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from django.db import IntegrityError, connection
from psycopg.errors import UniqueViolation
from psycopg.pq import TransactionStatus

from common.ids import new_id
from metering.domain.balance_states import BalanceState
from metering.domain.digests import Digest
from metering.domain.ledger import Decision
from metering.domain.numbers import EXACT, ZERO
from metering.domain.requests import KnownId, Line, Request
from metering.services.array_literals import flags, moments, numbers, uuids, words
from metering.services.ledger_copy import copy_batch, encode_json, event_ids_of, eventful_lines
from metering.services.patience import lock_timeout
from tenants.services.locks import sorted_lock_numbers

#: From here on COPY beats INSERT ... unnest: it costs more round trips, and half as much a row.
COPY_FROM = 48

_BEGIN = "BEGIN;"
_COMMIT = ";COMMIT"

_LOCK = "SELECT pg_advisory_xact_lock_shared(number) FROM unnest(%s::bigint[]) AS number"

_EPOCHS = """
SELECT kind, subject_id, version FROM tenants_epoch
WHERE tenant_id = ANY(%s::uuid[]) AND subject_id = ANY(%s::uuid[])
"""

_BALANCES = """
SELECT id, used, held, closed_at IS NOT NULL, detached_at IS NOT NULL, thresholds_fired, period_end,
    carried + burned, latest_at
FROM metering_balance WHERE id = ANY(%s::uuid[]) AND tenant_id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE
"""

_EXPIRED_LINES = """
SELECT line.id, line.balance_id, line.reserved
FROM unnest(%s::uuid[], %s::timestamptz[]) AS asked (balance_id, at)
JOIN metering_holdline AS line
  ON line.balance_id = asked.balance_id AND line.open AND line.expires_at <= asked.at
ORDER BY line.id FOR UPDATE OF line
"""

_CLOSE_LINES = "UPDATE metering_holdline SET open = false, reserved = 0 WHERE id = ANY(%s::uuid[])"

_IDS = """
SELECT encode(uuid_send(digest), 'hex'), encode(uuid_send(fingerprint), 'hex'), kind, occurred_at, occurred_given,
    event_ids, hold_id
FROM metering_eventid WHERE tenant_id = ANY(%s::uuid[]) AND digest = ANY(%s::uuid[])
"""

_OPEN = "SELECT * FROM metering_open_batch(%s, %s, %s, %s, %s)"

_WRITE = f"SELECT metering_write_batch({', '.join(['%s'] * 31)})"

_INSERT_LATE = """
INSERT INTO metering_lateentry
    (id, tenant_id, event_id, occurred_at, own_balance_id, balance_id, quantity, created_at, updated_at)
SELECT id, tenant_id, event_id, occurred_at, own, counted_in, quantity, clock_timestamp(), clock_timestamp()
FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::timestamptz[], %s::uuid[], %s::uuid[], %s::numeric[])
    AS new (id, tenant_id, event_id, occurred_at, own, counted_in, quantity)
"""

_decode_epochs = msgspec.json.Decoder(list[tuple[str, UUID, int]]).decode
_decode_balances = msgspec.json.Decoder(
    list[tuple[UUID, Decimal, Decimal, bool, bool, set[int], datetime | None, Decimal, datetime | None]]
).decode
_decode_ids = msgspec.json.Decoder(list[tuple[Digest, Digest, str, datetime, bool, list[UUID], UUID | None]]).decode

_ATTACH = "UPDATE metering_balance SET detached_at = NULL WHERE id = ANY(%s::uuid[])"


def lock_configuration_shared(tenant_ids: Iterable[UUID]) -> None:
    """Keep changes of configuration out of these tenants until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [numbers(sorted_lock_numbers(tenant_ids))])


def current_epochs(tenant_ids: Iterable[UUID], subjects: Iterable[UUID]) -> dict[tuple[str, UUID], int]:
    """Versions by (kind, subject); what has no row is missing. In a statement after the lock's, so that it sees
    what was committed while the lock was waited for.
    """
    with connection.cursor() as cursor:
        cursor.execute(_EPOCHS, [uuids(tenant_ids), uuids(subjects)])
        return {(kind, subject_id): version for kind, subject_id, version in cursor.fetchall()}


def lock_balances(tenant_ids: Iterable[UUID], ids: Sequence[UUID]) -> tuple[dict[UUID, BalanceState], set[UUID]]:
    """Lock these balances in the order of their ids → (those that exist, the detached ones among them)."""
    if not ids:
        return {}, set()
    with connection.cursor() as cursor:
        cursor.execute(_BALANCES, [uuids(ids), uuids(tenant_ids)])
        return _balances(cursor.fetchall())


@dataclass(frozen=True, slots=True)
class Opened:
    """What a batch finds: epochs by (kind, subject), locked balances, the detached ones among them, known ids."""

    epochs: dict[tuple[str, UUID], int]
    balances: dict[UUID, BalanceState]
    detached: set[UUID]
    known: dict[Digest, KnownId]


def open_batch(
    tenant_ids: Sequence[UUID], subjects: Iterable[UUID], balance_ids: Iterable[UUID], digests: Sequence[Digest]
) -> Opened:
    """Lock configuration and balances and read epochs and ids, in one round trip.

    It begins the transaction as well, where nothing else has: a round trip of its own for that would cost as much.
    """
    arguments = [
        numbers(sorted_lock_numbers(tenant_ids)),
        uuids(tenant_ids),
        uuids(subjects),
        uuids(balance_ids),
        words(digests),
    ]
    with connection.cursor() as cursor:
        cursor.execute(_beginning() + _OPEN if _begins_now() else _OPEN, arguments)
        while cursor.description is None:
            cursor.nextset()
        epochs, found, known = cursor.fetchone()
    balances, detached = _balances(_decode_balances(found or b"[]"))
    return Opened(
        epochs={(kind, subject_id): version for kind, subject_id, version in _decode_epochs(epochs or b"[]")},
        balances=balances,
        detached=detached,
        known=_known_ids(_decode_ids(known or b"[]")),
    )


def _beginning() -> str:
    milliseconds = lock_timeout()
    return _BEGIN if milliseconds is None else f"{_BEGIN}SET LOCAL lock_timeout = {milliseconds};"


def _begins_now() -> bool:
    """Whether the next query is the first of its transaction, which then begins with it: the driver is told not to."""
    driver: Any = connection.connection
    if not connection.in_atomic_block or driver.info.transaction_status != TransactionStatus.IDLE:
        return False
    driver.autocommit = True
    return True


def _balances(rows: Iterable[Any]) -> tuple[dict[UUID, BalanceState], set[UUID]]:
    found: dict[UUID, BalanceState] = {}
    detached: set[UUID] = set()
    for id, used, held, closed, is_detached, fired, period_end, extra, latest_at in rows:
        found[id] = BalanceState(id, used, held, closed, set(fired), period_end, extra, ZERO, latest_at)
        if is_detached:
            detached.add(id)
    return found, detached


def _known_ids(rows: Iterable[Any]) -> dict[Digest, KnownId]:
    return {
        digest: KnownId(fingerprint, kind, occurred_at, given, tuple(event_ids), hold_id)
        for digest, fingerprint, kind, occurred_at, given, event_ids, hold_id in rows
    }


def attach_balances(ids: Iterable[UUID]) -> None:
    """Let detached balances count again, once what they missed has been counted."""
    with connection.cursor() as cursor:
        cursor.execute(_ATTACH, [uuids(ids)])


def sweep_expired_lines(balances: Mapping[UUID, BalanceState], at_of: Mapping[UUID, datetime]) -> None:
    """Give back what expired holds still reserve on these locked balances."""
    holding = [id for id, balance in balances.items() if balance.held and id in at_of]
    if not holding:
        return
    with connection.cursor() as cursor:
        cursor.execute(_EXPIRED_LINES, [uuids(holding), moments(at_of[id] for id in holding)])
        expired = cursor.fetchall()
        if expired:
            cursor.execute(_CLOSE_LINES, [uuids(line_id for line_id, _, _ in expired)])
    for _, balance_id, reserved in expired:
        balance = balances[balance_id]
        balance.held = EXACT.subtract(balance.held, reserved)
        balance.changed = True


def read_ids(tenant_ids: Iterable[UUID], digests: Iterable[Digest]) -> dict[Digest, KnownId]:
    """What the register knows of these digests."""
    with connection.cursor() as cursor:
        cursor.execute(_IDS, [uuids(tenant_ids), words(digests)])
        return _known_ids(cursor.fetchall())


def write_batch(requests: Sequence[Request], balances: Iterable[BalanceState], *, commit: bool = False) -> bool:
    """Write accepted requests' ids and events, and the balances that changed, in one round trip if there are few.

    With `commit` the transaction ends with that. A hold has no events. False if somebody was quicker with one of the
    ids: then the batch is rolled back and done again.
    """
    changed = [balance for balance in balances if balance.changed]
    if sum(len(request.lines) for request in requests) < COPY_FROM:
        lines = [(request, line) for request in requests for line in eventful_lines(request)]
        return _write_together(requests, lines, changed, commit=commit)
    if not copy_batch(requests):
        return False
    return _write_together((), (), changed, commit=commit)


def update_balances(balances: Iterable[BalanceState]) -> None:
    """Write back those that changed."""
    _write_together((), (), [balance for balance in balances if balance.changed])


def _write_together(
    requests: Sequence[Request],
    lines: Sequence[tuple[Request, Line]],
    changed: Sequence[BalanceState],
    *,
    commit: bool = False,
) -> bool:
    if not requests and not changed:
        return True
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                _WRITE + _COMMIT if commit else _WRITE,
                [*_id_columns(requests), *_event_columns(lines), *_balance_columns(changed)],
            )
    except IntegrityError as error:
        if isinstance(error.__cause__, UniqueViolation):
            return False
        raise
    return True


def _id_columns(requests: Sequence[Request]) -> Iterable[str]:
    return (
        uuids(request.caller.tenant_id for request in requests),
        words(request.digest for request in requests),
        words(request.fingerprint for request in requests),
        words(request.kind for request in requests),
        moments(request.occurred_at for request in requests),
        flags(request.occurred_given for request in requests),
        # Arrays within an array, so in quotes.
        words(f'"{event_ids_of(request)}"' for request in requests),
        uuids(request.hold_id for request in requests),
    )


def _event_columns(lines: Sequence[tuple[Request, Line]]) -> Iterable[str | list[str]]:
    callers = [request.caller for request, _ in lines]
    return (
        uuids(line.event_id for _, line in lines),
        uuids(caller.tenant_id for caller in callers),
        uuids(caller.customer_id for caller in callers),
        uuids(caller.license_id for caller in callers),
        uuids(caller.agent_id for caller in callers),
        words(f'"{uuids(caller.agent_path)}"' for caller in callers),
        uuids(line.meter.id for _, line in lines),
        [request.id for request, _ in lines],
        numbers(line.quantity for _, line in lines),
        [encode_json(line.dimensions).decode() for _, line in lines],
        moments(line.occurred_at for _, line in lines),
        moments(request.at for request, _ in lines),
        words(request.kind for request, _ in lines),
        uuids(request.hold_id for request, _ in lines),
        *_particulars([line for _, line in lines]),
    )


def _particulars(lines: Sequence[Line]) -> Iterable[str]:
    """What few events have: nothing is sent where none has it."""
    if not any(line.corrects or line.derived_from or line.flags for line in lines):
        return ["{}"] * 3
    return (
        uuids(line.corrects for line in lines),
        uuids(line.derived_from for line in lines),
        # Arrays within an array, so in quotes.
        words(f'"{{{",".join(line.flags)}}}"' for line in lines),
    )


def _balance_columns(changed: Sequence[BalanceState]) -> Iterable[str]:
    return (
        uuids(balance.id for balance in changed),
        numbers(balance.used for balance in changed),
        numbers(balance.held for balance in changed),
        words(f'"{numbers(sorted(balance.fired))}"' for balance in changed),
        numbers(balance.burned for balance in changed) if any(balance.burned for balance in changed) else "{}",
        moments(balance.latest_at for balance in changed) if any(balance.latest_at for balance in changed) else "{}",
    )


def insert_late_entries(decision: Decision, tenant_of: Mapping[UUID, UUID]) -> None:
    """Note which events count in another period than their own."""
    late = decision.late
    with connection.cursor() as cursor:
        cursor.execute(
            _INSERT_LATE,
            [
                uuids(new_id() for _ in late),
                uuids(tenant_of[each.event_id] for each in late),
                uuids(each.event_id for each in late),
                moments(each.occurred_at for each in late),
                uuids(each.own for each in late),
                uuids(each.counted_in for each in late),
                numbers(each.quantity for each in late),
            ],
        )
