"""Usage events that a vendor posts: one, or a batch in which one bad event never loses its neighbours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from common.errors import BadRequest, Invalid, Problem
from common.json_decoding import decode_json, parse_leniently, parse_strictly

MAX_EVENTS: Final = 1000
MAX_ID: Final = 255

_NULL: Final = b"null"

Text = Annotated[str, Meta(max_length=256)]


class VendorEvent(Struct, forbid_unknown_fields=True, kw_only=True):
    """A fact: this much has happened to an agent, or to a licence. `quantity` is kept as it was written.

    With `corrects` it changes another event by so much.
    """

    id: Annotated[str, Meta(min_length=1, max_length=MAX_ID)]
    meter: Text
    quantity: msgspec.Raw = msgspec.Raw(_NULL)
    occurred_at: Annotated[datetime, Meta(tz=True)] | None = None
    dimensions: dict[str, str | int | float | bool] | None = None
    agent: Text | None = None
    license: Text | None = None
    corrects: Annotated[str, Meta(min_length=1, max_length=MAX_ID)] | None = None


class _Envelope(Struct, forbid_unknown_fields=True, kw_only=True):
    """A batch; `agent` or `license` is whose the events are that do not say it themselves."""

    events: list[msgspec.Raw]
    agent: Text | None = None
    license: Text | None = None


@dataclass(frozen=True, slots=True)
class ReportedUsage:
    """Events in their order, each decoded or with what is wrong with it; `ids` as far as they could be read."""

    events: list[VendorEvent | Problem]
    ids: list[str | None]
    lone: bool


def read_usage(raw: bytes) -> ReportedUsage:
    """Decode a body of `usage`. Raises BadRequest and Invalid for a broken envelope or a broken lone event."""
    tree = parse_leniently(raw)
    if not isinstance(tree, dict) or "events" not in tree:
        event = decode_json(raw, type=VendorEvent)
        return ReportedUsage([event], [event.id], lone=True)
    # The envelope's own members are looked at without the events, whose faults are their own. Written in ASCII: half
    # a character has no UTF-8, and is to be found as it was sent.
    parse_strictly(json.dumps({name: value for name, value in tree.items() if name != "events"}).encode())
    try:
        envelope = msgspec.json.decode(raw, type=_Envelope)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("malformed_json", "The body is not JSON.") from None
    if len(envelope.events) > MAX_EVENTS:
        raise Invalid.field("events", "too_many", f"At most {MAX_EVENTS} at once.")
    events = [_read_event(bytes(part), envelope) for part in envelope.events]
    return ReportedUsage(events, [_id_of(each) for each in tree["events"]], lone=False)


def _read_event(part: bytes, envelope: _Envelope) -> VendorEvent | Problem:
    try:
        event = decode_json(part, type=VendorEvent)
    except Problem as problem:
        return problem
    if event.agent is None and event.license is None:
        event.agent, event.license = envelope.agent, envelope.license
    return event


def _id_of(event: Any) -> str | None:
    id = event.get("id") if isinstance(event, dict) else None
    return id if isinstance(id, str) and id.isprintable() and len(id) <= MAX_ID else None
