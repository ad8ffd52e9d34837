"""Batches in which one bad item never loses its neighbours: only a broken envelope refuses the whole."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from common.errors import BadRequest, FieldError, Invalid, Problem
from common.json_decoding import MAX_ERRORS, decode_json, parse_leniently, parse_strictly, path_text

MAX_ITEMS: Final = 1000

# Escapes in their order, so that a pair of halves is one character and an escaped backslash is no beginning of one.
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DecodedItems(Generic[T]):
    """The items in their order, each decoded or its problem; `lone` if the body was one item without an envelope."""

    items: list[T | Problem]
    lone: bool


def decode_items(
    raw: bytes,
    *,
    type: type[T],
    field: str | None,
    max_items: int = MAX_ITEMS,
) -> DecodedItems[T]:
    """One item, or `{field: [items]}`; with `field` None a bare `[items]` only.

    Raises BadRequest and Invalid for a broken envelope, and for a lone item that does not hold. The usual case, all
    items sound, costs one pass; only where one is not are they decoded one by one.
    """
    try:
        tree = parse_strictly(raw)
    except Problem as problem:
        return _decode_around(raw, problem, item=type, field=field, max_items=max_items)
    items = _items_of(tree, field)
    if items is None:
        return DecodedItems([decode_json(raw, type=type)], lone=True)
    _check_count(items, field, max_items)
    try:
        return DecodedItems(_decode_all(raw, type, field), lone=False)
    except (msgspec.DecodeError, RecursionError):
        return DecodedItems(_decode_each(raw, type, field), lone=False)


def _decode_around(
    raw: bytes, problem: Problem, *, item: type[T], field: str | None, max_items: int
) -> DecodedItems[T]:
    """The body does not hold as a whole: a fault inside items is theirs alone, any other is the body's."""
    tree = parse_leniently(raw)
    if isinstance(tree, dict) and tree.keys() != {field}:
        raise problem
    items = _items_of(tree, field)
    if items is None:
        raise problem
    _check_count(items, field, max_items)
    # msgspec cannot even skip half a character. A NUL in its place is refused in the same words, in its own item.
    raw = _ESCAPE.sub(lambda escape: rb"\u0000" if escape["half"] else escape[0], raw)
    decoded: list[T | Problem] = _decode_each(raw, item, field)
    if not any(isinstance(found, Problem) for found in decoded):
        raise problem
    return DecodedItems(decoded, lone=False)


def _items_of(tree: Any, field: str | None) -> list[Any] | None:
    """The list in the envelope, or None if there is no envelope."""
    if field is None:
        if not isinstance(tree, list):
            raise Invalid.field("", "wrong_type", "Expected array.")
        return tree
    if not isinstance(tree, dict) or field not in tree:
        return None
    if unknown := [name for name in tree if name != field]:
        errors = [
            FieldError(field=path_text((name,)), code="unknown_field", detail="This field is not known here.")
            for name in unknown
        ]
        raise Invalid("The body has unknown fields.", errors=errors[:MAX_ERRORS])
    items = tree[field]
    if not isinstance(items, list):
        raise Invalid.field(field, "wrong_type", "Expected array.")
    return items


def _check_count(items: list[Any], field: str | None, max_items: int) -> None:
    if len(items) > max_items:
        raise Invalid.field(field or "", "too_many", f"At most {max_items} at once.")


def _decode_all(raw: bytes, item: type[T], field: str | None) -> list[T | Problem]:
    decoded = _envelope_decoder(cast("Any", item), field).decode(raw)
    items: list[T | Problem] = decoded if field is None else getattr(decoded, field)
    return items


def _decode_each(raw: bytes, item: type[T], field: str | None) -> list[T | Problem]:
    try:
        parts: list[msgspec.Raw] = _decode_all(raw, msgspec.Raw, field)  # type: ignore[assignment]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("malformed_json", "The body is not JSON.") from None
    items: list[T | Problem] = []
    for part in parts:
        try:
            items.append(decode_json(bytes(part), type=item))
        except Problem as problem:
            items.append(problem)
    return items


@lru_cache(maxsize=64)
def _envelope_decoder(item: Any, field: str | None) -> msgspec.json.Decoder[Any]:
    if field is None:
        return msgspec.json.Decoder(list[item])
    return msgspec.json.Decoder(msgspec.defstruct("Envelope", [(field, list[item])], forbid_unknown_fields=True))
