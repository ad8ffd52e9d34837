"""Large batches into the register and the events' table by COPY: what rows have in common is written once.

Rows go out in portions, so that the server takes in one while the next is being written.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from uuid import UUID

import msgspec
from django.db import IntegrityError, connection
from psycopg.errors import UniqueViolation

from metering.domain.enums import EventKind
from metering.domain.requests import Line, Request
from metering.domain.terms import Caller, MeterTerms
from metering.services.array_literals import copy_text, uuids

EVENT_COLUMNS = (
    "id, tenant_id, customer_id, license_id, agent_id, agent_path, meter_id, client_id,"
    " quantity, dimensions, occurred_at, recorded_at, kind, hold_id, corrects, derived_from, flags"
)

_COPY_EVENTS = f"COPY metering_usageevent ({EVENT_COLUMNS}) FROM STDIN"

_COPY_IDS = """
COPY metering_eventid (digest, fingerprint, occurred_at, occurred_given, event_ids, tenant_id, kind, hold_id) FROM STDIN
"""

_PORTION = 200
_NULL = "\\N"
_NO_PARTICULARS = f"{_NULL}\t{_NULL}\t{{}}"

encode_json = msgspec.json.Encoder().encode


def copy_batch(requests: Sequence[Request]) -> bool:
    """Register the requests' ids and write their events; False if somebody was quicker with one of the ids.

    Then the transaction can only be rolled back. As with `ON CONFLICT DO NOTHING`, an id that another transaction is
    about to commit is waited for, and all go in their order, so that two batches never wait for each other.
    """
    # Both tables have it, and it is dearer to write than all the rest of a row.
    moments = [request.occurred_at.isoformat() for request in requests]
    try:
        _copy(_COPY_IDS, sorted(_id_rows(requests, moments)))
    except IntegrityError as error:
        if isinstance(error.__cause__, UniqueViolation):
            return False
        raise
    _copy(_COPY_EVENTS, _event_rows(requests, moments))
    return True


def event_ids_of(request: Request) -> str:
    """An array literal of the ids of its events, without those of derived ones."""
    if request.kind is not EventKind.HOLD and len(request.lines) == 1:
        return "{" + request.lines[0].event_id.hex + "}"
    return "{" + ",".join([event_id.hex for event_id in request.event_ids]) + "}"


def eventful_lines(request: Request) -> Sequence[Line]:
    """The lines of which there are events, and what is derived from them: a hold's have none."""
    return () if request.kind is EventKind.HOLD else request.counting


def _copy(statement: str, rows: Iterable[str]) -> None:
    left = iter(rows)
    # Django wraps the call that begins a COPY, not its end, where errors come.
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(statement) as copy:
        while portion := "".join(islice(left, _PORTION)):
            copy.write(portion)


def _id_rows(requests: Sequence[Request], moments: Sequence[str]) -> Iterator[str]:
    """Rows that begin with their digests, so that they sort by them; `moments`: when each request occurred."""
    tails: dict[tuple[int, EventKind, UUID | None], str] = {}
    for request, moment in zip(requests, moments, strict=True):
        tail_key = (id(request.caller), request.kind, request.hold_id)
        tail = tails.get(tail_key)
        if tail is None:
            tail = tails[tail_key] = f"{request.caller.tenant_id.hex}\t{request.kind}\t{_or_null(request.hold_id)}\n"
        yield (
            f"{request.digest}\t{request.fingerprint}\t{moment}\t"
            f"{'t' if request.occurred_given else 'f'}\t{event_ids_of(request)}\t{tail}"
        )


def _event_rows(requests: Sequence[Request], moments: Sequence[str]) -> Iterator[str]:
    # What rows have in common is found by caller and meter, by dimensions, by request.
    heads: dict[tuple[int, int], str] = {}
    dimensions: dict[int, str] = {}
    tails: dict[tuple[datetime, EventKind, UUID | None], str] = {}
    for request, moment in zip(requests, moments, strict=True):
        client_id, occurred_at = copy_text(request.id), request.occurred_at
        tail_key = (request.at, request.kind, request.hold_id)
        tail = tails.get(tail_key)
        if tail is None:
            tail = tails[tail_key] = f"{request.at.isoformat()}\t{request.kind}\t{_or_null(request.hold_id)}"
        for line in eventful_lines(request):
            head_key = (id(request.caller), id(line.meter))
            head = heads.get(head_key)
            if head is None:
                head = heads[head_key] = _event_head(request.caller, line.meter)
            shown = dimensions.get(id(line.dimensions))
            if shown is None:
                shown = copy_text(encode_json(line.dimensions).decode()) if line.dimensions else "{}"
                dimensions[id(line.dimensions)] = shown
            written = moment if line.occurred_at is occurred_at else line.occurred_at.isoformat()
            # A decimal is quicker by `str` than by its own format.
            yield (
                f"{line.event_id.hex}\t{head}\t{client_id}\t{line.quantity!s}\t{shown}\t"
                f"{written}\t{tail}\t{_particulars(line)}\n"
            )


def _particulars(line: Line) -> str:
    """The last columns, which few events have."""
    if line.corrects is None and line.derived_from is None and not line.flags:
        return _NO_PARTICULARS
    return f"{_or_null(line.corrects)}\t{_or_null(line.derived_from)}\t{{{','.join(line.flags)}}}"


def _event_head(caller: Caller, meter: MeterTerms) -> str:
    return "\t".join(
        [
            *(caller.tenant_id.hex, caller.customer_id.hex, caller.license_id.hex),
            *(_or_null(caller.agent_id), uuids(caller.agent_path), meter.id.hex),
        ]
    )


def _or_null(id: UUID | None) -> str:
    return id.hex if id else _NULL
