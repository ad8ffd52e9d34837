"""Usage events as they arrive: one, a batch, or CloudEvents 1.0 in JSON (structured and batched)."""

from dataclasses import dataclass
from typing import Any, Final

from msgspec import UNSET

from agent_api.wire.requests import MAX_ID, CloudEvent, ReportedEvent
from common.errors import Invalid, Problem
from common.http_json import JSON
from common.json_batches import decode_items
from common.json_decoding import decode_json, parse_leniently

CLOUD_EVENT: Final = "application/cloudevents+json"
CLOUD_EVENTS: Final = "application/cloudevents-batch+json"
ACCEPTED: Final = (JSON, CLOUD_EVENT, CLOUD_EVENTS)


@dataclass(frozen=True, slots=True)
class UsageEvents:
    """Events in their order, or what is wrong with each; `ids` are those of the broken ones, where they can be read.

    `lone`: the body was one event without an envelope. `by_type`: `meter` holds a CloudEvent's type.
    """

    items: list[ReportedEvent | Problem]
    ids: dict[int, str | None]
    lone: bool
    by_type: bool


def read_usage(raw: bytes, content_type: str = JSON) -> UsageEvents:
    """Decode a body of `usage` of one of the `ACCEPTED` kinds.

    Raises BadRequest and Invalid for a broken envelope, and for a lone event that does not hold.
    """
    if content_type == CLOUD_EVENT:
        found = _from_cloud(decode_json(raw, type=CloudEvent))
        if isinstance(found, Problem):
            raise found
        return UsageEvents([found], {}, lone=True, by_type=True)
    if content_type == CLOUD_EVENTS:
        decoded = decode_items(raw, type=CloudEvent, field=None)
        items = [each if isinstance(each, Problem) else _from_cloud(each) for each in decoded.items]
        return UsageEvents(items, _ids(raw, items, None), lone=False, by_type=True)
    plain = decode_items(raw, type=ReportedEvent, field="events")
    return UsageEvents(plain.items, _ids(raw, plain.items, "events"), lone=plain.lone, by_type=False)


def _from_cloud(event: CloudEvent) -> ReportedEvent | Problem:
    """The id of a CloudEvent is unique per source only, so both together are the event's id here."""
    kind = (event.datacontenttype or JSON).partition(";")[0].strip().lower()
    if kind != JSON and not kind.endswith("+json"):
        return Invalid.field("datacontenttype", "invalid", "The data of usage is JSON.")
    if event.data_base64 is not None:
        return Invalid.field("data_base64", "invalid", "The data of usage is JSON, in `data`.")
    id = f"{event.source} {event.id}"
    if len(id) > MAX_ID:
        return Invalid.field("id", "too_long", f"Source and id have at most {MAX_ID - 1} characters together.")
    return ReportedEvent(
        id=id,
        meter=event.type,
        quantity=UNSET if event.data is None else event.data.quantity,
        occurred_at=event.time,
        dimensions=UNSET if event.data is None else event.data.dimensions,
    )


def _ids(raw: bytes, items: list[ReportedEvent | Problem], field: str | None) -> dict[int, str | None]:
    """What broken items call themselves, so that their results can be told apart."""
    broken = [place for place, item in enumerate(items) if isinstance(item, Problem)]
    if not broken:
        return {}
    tree: Any = parse_leniently(raw)
    found = tree.get(field) if isinstance(tree, dict) and field else tree
    return {place: _id_of(found, place, cloud=field is None) for place in broken}


def _id_of(items: Any, place: int, *, cloud: bool) -> str | None:
    item: Any = items[place] if isinstance(items, list) and place < len(items) else None
    if not isinstance(item, dict):
        return None
    id = item.get("id")
    if not isinstance(id, str) or not id.isprintable() or not 0 < len(id) <= MAX_ID:
        return None
    source = item.get("source") if cloud else None
    return f"{source} {id}" if isinstance(source, str) and source.isprintable() else id
