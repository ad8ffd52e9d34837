"""Events written to files: one JSON object a line, gzip, with a checksum beside it, in constant memory.

A file appears under its name once it is complete and on disk; killed before, there is none.
"""

import gzip
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from io import RawIOBase
from pathlib import Path
from typing import IO, Any, Final
from uuid import UUID

import msgspec
from django.db import connection, transaction

from common.clock import rfc3339
from common.ids import Prefix, encode_id
from common.quantities import format_quantity
from metering.models import Meter

_PORTION: Final = 2000

_EVENTS = """
SELECT id, tenant_id, customer_id, license_id, agent_id, agent_path, meter_id, client_id, quantity, dimensions::text,
       occurred_at, recorded_at, kind, hold_id, corrects, derived_from, flags
FROM {table} WHERE {which}
"""

_encode: Final = msgspec.json.Encoder().encode
_known_id = lru_cache(maxsize=100_000)(encode_id)


@dataclass(frozen=True, slots=True)
class Exported:
    """A file of events, its SHA-256 in hexadecimal digits, and how many events are in it."""

    path: Path
    sha256: str
    events: int


def export_events(
    *,
    to: Path,
    table: str = "metering_usageevent",
    tenant_id: UUID | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Exported:
    """Write the events of a partition, or those in [since, until), of all workspaces or of one, to the file `to`.

    Beside it comes `to` with `.sha256` added, as `sha256sum --check` reads it. What was there before is replaced.
    One statement reads them all, so it is one snapshot.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    begun = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        with begun.open("wb") as file:
            hashed = _Hashed(file)
            with gzip.GzipFile(filename="", mode="wb", fileobj=hashed, compresslevel=6, mtime=0) as packed:
                events = _write(packed, table, {"tenant": tenant_id, "since": since, "until": until})
            file.flush()
            os.fsync(file.fileno())
        begun.replace(to)
    finally:
        begun.unlink(missing_ok=True)
    exported = Exported(to, hashed.hexdigest(), events)
    sum_file = to.with_name(f"{to.name}.sha256")
    begun_sum = sum_file.with_name(f".{sum_file.name}.{os.getpid()}")
    begun_sum.write_text(f"{exported.sha256}  {to.name}\n")
    begun_sum.replace(sum_file)
    _sync_folder(to.parent)
    return exported


class _Hashed(RawIOBase):
    """Passes on what is written, and hashes it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._hash.update(data)
        return self._file.write(data)

    def hexdigest(self) -> str:
        """Of all that was written."""
        return self._hash.hexdigest()


def _write(file: gzip.GzipFile, table: str, asked: Mapping[str, Any]) -> int:
    events = 0
    with transaction.atomic():
        codes = dict(Meter.objects.values_list("id", "code"))
        for rows in _portions(table, asked):
            file.write(b"".join([_line(row, codes) for row in rows]))
            events += len(rows)
    return events


def _portions(table: str, asked: Mapping[str, Any]) -> Iterator[Sequence[tuple[Any, ...]]]:
    which = ["true"]
    if asked["tenant"] is not None:
        which.append("tenant_id = %(tenant)s")
    if asked["since"] is not None:
        which.append("occurred_at >= %(since)s")
    if asked["until"] is not None:
        which.append("occurred_at < %(until)s")
    with connection.chunked_cursor() as cursor:
        cursor.execute(_EVENTS.format(table=table, which=" AND ".join(which)), dict(asked))
        while rows := cursor.fetchmany(_PORTION):
            yield rows


def _line(row: tuple[Any, ...], codes: Mapping[UUID, str]) -> bytes:
    (id, tenant_id, customer_id, license_id, agent_id, path, meter_id, client_id, quantity, dimensions, occurred_at) = (
        row[:11]
    )
    recorded_at, kind, hold_id, corrects, derived_from, flags = row[11:]
    return (
        _encode(
            {
                "id": client_id,
                "meter": codes.get(meter_id, _known_id(Prefix.METER, meter_id)),
                "quantity": format_quantity(quantity),
                "occurred_at": rfc3339(occurred_at),
                "dimensions": msgspec.Raw(dimensions.encode()),
                "license": _known_id(Prefix.LICENSE, license_id),
                "agent": _known_id(Prefix.AGENT, agent_id) if agent_id else None,
                "agent_path": [_known_id(Prefix.AGENT, each) for each in path],
                "customer": _known_id(Prefix.CUSTOMER, customer_id),
                "tenant": _known_id(Prefix.TENANT, tenant_id),
                "event_id": encode_id(Prefix.EVENT, id),
                "recorded_at": rfc3339(recorded_at),
                "kind": kind,
                "hold_id": encode_id(Prefix.HOLD, hold_id) if hold_id else None,
                "corrects": encode_id(Prefix.EVENT, corrects) if corrects else None,
                "derived_from": encode_id(Prefix.EVENT, derived_from) if derived_from else None,
                "flags": flags,
            }
        )
        + b"\n"
    )


def _sync_folder(folder: Path) -> None:
    """What was renamed has its new name after a power cut, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
