"""Events as CSV or NDJSON, a line at a time, whatever their number."""

import csv
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from django.db.models import QuerySet

from common.clock import rfc3339
from common.ids import Prefix, encode_id
from common.quantities import format_quantity
from licenses.domain.license_csv import safe_cell
from metering.models import UsageEvent

CHUNK: Final = 2000
COLUMNS: Final = (
    *("event_id", "id", "kind", "meter", "quantity", "occurred_at", "recorded_at", "agent", "license", "customer"),
    *("dimensions", "hold", "corrects", "derived_from", "flags"),
)

_encode = msgspec.json.Encoder().encode


class _Echo:
    """What the csv module writes to: it hands the line back."""

    def write(self, line: str) -> str:
        return line


def as_ndjson(events: QuerySet[UsageEvent]) -> Iterator[bytes]:
    """A JSON object for each event, with `COLUMNS` as names."""
    for event in events.iterator(chunk_size=CHUNK):
        yield _encode(_fields(event)) + b"\n"


def as_csv(events: QuerySet[UsageEvent]) -> Iterator[str]:
    """A header, and a record for each event; what a spreadsheet would run is preceded by an apostrophe."""
    writer: Any = csv.writer(_Echo(), lineterminator="\r\n")  # RFC 4180
    yield writer.writerow(COLUMNS)
    for event in events.iterator(chunk_size=CHUNK):
        fields = _fields(event)
        fields["dimensions"] = _encode(fields["dimensions"]).decode() if fields["dimensions"] else ""
        fields["flags"] = " ".join(fields["flags"])
        yield writer.writerow([safe_cell(fields[name] or "") for name in COLUMNS])


def _fields(event: UsageEvent) -> dict[str, Any]:
    return {
        "event_id": event.public_id,
        "id": event.client_id,
        "kind": event.kind,
        "meter": event.meter.code,
        "quantity": format_quantity(event.quantity),
        "occurred_at": rfc3339(event.occurred_at),
        "recorded_at": rfc3339(event.recorded_at),
        "agent": event.agent_id and encode_id(Prefix.AGENT, event.agent_id),
        "license": encode_id(Prefix.LICENSE, event.license_id),
        "customer": encode_id(Prefix.CUSTOMER, event.customer_id),
        "dimensions": event.dimensions,
        "hold": event.hold_id and encode_id(Prefix.HOLD, event.hold_id),
        "corrects": event.corrects and encode_id(Prefix.EVENT, event.corrects),
        "derived_from": event.derived_from and encode_id(Prefix.EVENT, event.derived_from),
        "flags": list(event.flags),
    }
