"""Lines of an import as events. What is wrong with a line is its own fault, and never its neighbours'."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from common.errors import Problem
from common.json_decoding import decode_json
from metering.services.import_streams import MAX_LINE, RawLine
from metering.services.reported_usage import MAX_ID, LineFault

#: Names of columns and of fields.
FIELDS: Final = ("id", "meter", "quantity", "occurred_at", "dimensions", "agent", "license")

Text = Annotated[str, Meta(max_length=256)]


class ImportFormat(StrEnum):
    """What the lines are."""

    NDJSON = "ndjson"
    CSV = "csv"


# Thousands come at once and refer to nothing that refers to them: the garbage collector need not go through them.
class ImportedEvent(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """A fact with whose it is: `agent` or `license`. Quantity and dimensions are kept as they were written."""

    id: Annotated[str, Meta(min_length=1, max_length=MAX_ID)]
    meter: Text
    quantity: Raw | UnsetType = UNSET
    occurred_at: Annotated[datetime, Meta(tz=True)] | None = None
    dimensions: Raw | UnsetType = UNSET
    agent: Text | None = None
    license: Text | None = None


class ImportedLine(NamedTuple):
    """A line that was read: an event, or what is wrong with it. `end` is the offset after it in the stream."""

    number: int
    end: int
    data: bytes
    event: ImportedEvent | LineFault


_is_too_long = attrgetter("too_long")
_read_event = msgspec.json.Decoder(ImportedEvent).decode
_read_events = msgspec.json.Decoder(ImportedEvent).decode_lines
LINE_TOO_LONG: Final = LineFault("", "line_too_long", f"A line has at most {MAX_LINE} bytes.")
#: A name that comes twice in a line: msgspec would take the last without a word.
_NAMES: Final = tuple(f'"{name}"'.encode() for name in FIELDS)


def read_ndjson(lines: Sequence[RawLine]) -> list[ImportedLine]:
    """Events of these lines; blank lines are none."""
    usual = [line for line in lines if line.data.strip() or line.too_long]
    events = _all_at_once(usual)
    if events is None:
        return [ImportedLine(line.number, line.end, line.data, _one(line)) for line in usual]
    return [ImportedLine(number, end, data, event) for (number, end, data, _), event in zip(usual, events, strict=True)]


def _all_at_once(lines: Sequence[RawLine]) -> list[ImportedEvent] | None:
    """The usual case, all lines sound, in one pass; None where they are to be read one by one."""
    if any(map(_is_too_long, lines)):
        return None
    text = b"\n".join([line.data for line in lines])
    if any(text.count(name) > len(lines) for name in _NAMES):
        return None
    try:
        events = _read_events(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return events if len(events) == len(lines) else None


def _one(line: RawLine) -> ImportedEvent | LineFault:
    if line.too_long:
        return LINE_TOO_LONG
    try:
        return decode_json(line.data, type=ImportedEvent)
    except Problem as problem:
        error = problem.errors[0] if problem.errors else None
        if error is not None:
            return LineFault(error["field"], error["code"], error["detail"])
        # The decoder speaks of a whole body, of which this is the only line.
        detail = (problem.detail or "").replace("The body", "The line").replace("line 1, ", "")
        return LineFault("", problem.code, detail)
