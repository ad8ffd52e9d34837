import json

import msgspec
import pytest

from common.errors import BadRequest, Invalid, Problem
from common.json_batches import DecodedItems, decode_items


class Event(msgspec.Struct, forbid_unknown_fields=True):
    meter: str
    quantity: str | int | float = 1


def decode(raw: bytes) -> DecodedItems[Event]:
    return decode_items(raw, type=Event, field="events")


def codes(decoded: DecodedItems[Event]) -> list[str]:
    """What each item came to: its meter, or the status, field and code of its problem."""
    return [
        f"{item.status} {','.join(e['field'] + ':' + e['code'] for e in item.errors) or item.code}"
        if isinstance(item, Problem)
        else item.meter
        for item in decoded.items
    ]


def test_decode_items__all_sound__are_decoded_in_order() -> None:
    decoded = decode(b'{"events": [{"meter": "a"}, {"meter": "b", "quantity": 2.5}]}')
    assert decoded == DecodedItems([Event("a"), Event("b", 2.5)], lone=False)


def test_decode_items__lone_item__says_so() -> None:
    assert decode(b'{"meter": "a"}') == DecodedItems([Event("a")], lone=True)


def test_decode_items__empty_list__is_no_items() -> None:
    assert decode(b'{"events": []}') == DecodedItems([], lone=False)


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"{}", "422 meter:required"),
        (b"1", "422 :wrong_type"),
        (b"null", "422 :wrong_type"),
        (b'{"meter": 1}', "422 meter:wrong_type"),
        (b'{"meter": "x", "evil": 1}', "422 evil:unknown_field"),
        (b'{"meter": "x", "quantity": 1e999}', "422 quantity:invalid"),
        (b'{"meter": "x\\u0000"}', "422 meter:invalid"),
        (b'{"meter": "\\ud800"}', "422 meter:invalid"),
        (b'{"meter": "\\\\\\uDE42"}', "422 meter:invalid"),
        (b'{"meter": "x", "meter": "y"}', "400 malformed_json"),
        (b'{"meter": ' + b"[" * 40 + b"]" * 40 + b"}", "400 malformed_json"),
    ],
)
def test_decode_items__one_bad_item__loses_no_neighbour(bad: bytes, code: str) -> None:
    good = rb'{"meter": "\ud83d\ude42 \\ud800"}'
    decoded = decode(b'{"events": [' + good + b", " + bad + b", " + good + b"]}")
    assert codes(decoded) == ["🙂 \\ud800", code, "🙂 \\ud800"]
    assert not decoded.lone


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "malformed_json"),
        (b"{", "malformed_json"),
        (b'{"events": [{"meter": "a"}, {"meter": NaN}]}', "malformed_json"),
        (b'{"events": [{"meter": "a"}', "malformed_json"),
        (b'{"events": [], "events": [{"meter": "a"}]}', "malformed_json"),
        (b'{"events": [], "events": [{"meter": "\\u0000"}]}', "malformed_json"),
        (b'{"meter": "a", "meter": "b"}', "malformed_json"),
        (b"[" * 20_000, "malformed_json"),
        (b'{"events": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "malformed_json"),
    ],
)
def test_decode_items__broken_envelope__is_malformed(raw: bytes, code: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        decode(raw)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("raw", "errors"),
    [
        (b"[]", [("", "wrong_type")]),
        (b'{"events": {}}', [("events", "wrong_type")]),
        (b'{"events": [], "evil": 1, "worse": 2}', [("evil", "unknown_field"), ("worse", "unknown_field")]),
        (b'{"events": [{"meter": "a"}], "\\u0000": 1}', [("", "invalid")]),
        (b'{"meter": 1}', [("meter", "wrong_type")]),
        (b'{"meter": "\\u0000"}', [("meter", "invalid")]),
        (json.dumps({"events": [{"meter": "a"}] * 1001}).encode(), [("events", "too_many")]),
        (json.dumps({"events": [{"meter": "\x00"}] * 1001}).encode(), [("events", "too_many")]),
    ],
)
def test_decode_items__envelope_fields_that_do_not_hold__are_named(raw: bytes, errors: list[tuple[str, str]]) -> None:
    with pytest.raises(Invalid) as refusal:
        decode(raw)
    assert [(error["field"], error["code"]) for error in refusal.value.errors] == errors


def test_decode_items__bare_list__is_the_envelope_where_there_is_no_field() -> None:
    decoded = decode_items(b'[{"meter": "a"}, {}]', type=Event, field=None)
    assert codes(decoded) == ["a", "422 meter:required"]
    with pytest.raises(Invalid):
        decode_items(b'{"meter": "a"}', type=Event, field=None)
