import json
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadRequest, Invalid, Problem
from common.json_decoding import decode_json


class Event(msgspec.Struct, forbid_unknown_fields=True):
    meter: str
    quantity: str | int | float = 1
    dimensions: dict[str, str] = {}


class Command(msgspec.Struct, forbid_unknown_fields=True):
    events: list[Event] = []
    count: int | None = None
    anything: Any = None


def refusal(raw: bytes, **options: bool) -> Problem:
    with pytest.raises(Problem) as caught:
        decode_json(raw, type=Command, **options)
    return caught.value


def test_decode_json__sound_body__is_the_structure() -> None:
    raw = b' {"events": [{"meter": "tokens", "quantity": "5", "dimensions": {"model": "gro\\u00df \\ud83d\\ude42"}}]} '
    decoded = decode_json(raw, type=Command)
    assert decoded == Command(events=[Event(meter="tokens", quantity="5", dimensions={"model": "groß 🙂"})])


@pytest.mark.parametrize("raw", [b"", b"  \n"])
def test_decode_json__empty_body__is_an_object_only_where_allowed(raw: bytes) -> None:
    assert decode_json(raw, type=Command, empty_as_object=True) == Command()
    assert (refusal(raw).status, refusal(raw).code) == (400, "malformed_json")


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"{]",
        b"{} x",
        b"{'count': 1}",
        b'{"count": 1,}',
        b'{"count": 01}',
        b'{"count": NaN}',
        b'{"count": Infinity}',
        b'{"anything": [-Infinity]}',
        b'{"anything": "\x00"}',
        b'{"anything": "\xff"}',
        b'{"anything": "\xed\xa0\x80"}',
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"anything": "\\x"}',
        b'{"count": 1, "count": 1}',
        b'{"anything": {"a": 1, "\\u0061": 2}}',
        b"[" * 20_000,
        b"[" * 20_000 + b"]" * 20_000,
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b'{"anything":' + b"[" * 32 + b"]" * 32 + b"}",
    ],
)
def test_decode_json__no_json__is_malformed(raw: bytes) -> None:
    problem = refusal(raw)
    assert isinstance(problem, BadRequest)
    assert (problem.status, problem.code, problem.errors) == (400, "malformed_json", [])
    assert problem.detail


def test_decode_json__as_deep_as_allowed__passes() -> None:
    decoded = decode_json(b'{"anything":' + b"[" * 31 + b"]" * 31 + b"}", type=Command)
    assert json.dumps(decoded.anything) == "[" * 31 + "]" * 31


@pytest.mark.parametrize(
    ("raw", "errors"),
    [
        (b"[]", [("", "wrong_type")]),
        (b"1", [("", "wrong_type")]),
        (b'{"count": "1"}', [("count", "wrong_type")]),
        (b'{"count": 1.5}', [("count", "wrong_type")]),
        (b'{"count": true}', [("count", "wrong_type")]),
        (b'{"evil": 1}', [("evil", "unknown_field")]),
        (
            b'{"evil": null, "worse": [1], "count": "x"}',
            [("evil", "unknown_field"), ("worse", "unknown_field"), ("count", "wrong_type")],
        ),
        (b'{"events": [{"meter": "a"}, {"x": 1}]}', [("events.1.x", "unknown_field"), ("events.1.meter", "required")]),
        (b'{"events": [{}]}', [("events.0.meter", "required")]),
        (b'{"events": [{"meter": 1}]}', [("events.0.meter", "wrong_type")]),
        (b'{"events": {"meter": "a"}}', [("events", "wrong_type")]),
        (b'{"events": [{"meter": "a", "dimensions": {"b": 1}}]}', [("events.0.dimensions.*", "wrong_type")]),
        (b'{"events": [{"meter": "a", "quantity": 1e999}]}', [("events.0.quantity", "invalid")]),
        (b'{"count": ' + b"9" * 5000 + b"}", [("", "invalid")]),
        (b'{"events": [{"meter": "a\\u0000"}]}', [("events.0.meter", "invalid")]),
        (b'{"events": [{"meter": "\\ud800"}]}', [("events.0.meter", "invalid")]),
        (b'{"events": [{"meter": "\\ude42\\ud83d"}]}', [("events.0.meter", "invalid")]),
        (b'{"anything": {"\\u0000": 1}}', [("anything", "invalid")]),
        (b'{"anything": [["\\ud800"]]}', [("anything.0.0", "invalid")]),
        (b'{"x`y": 1, "a.b": 2}', [("x`y", "unknown_field"), ("a.b", "unknown_field")]),
    ],
)
def test_decode_json__fields_that_do_not_hold__are_named(raw: bytes, errors: list[tuple[str, str]]) -> None:
    problem = refusal(raw)
    assert isinstance(problem, Invalid)
    assert (problem.status, problem.code) == (422, "invalid")
    assert [(error["field"], error["code"]) for error in problem.errors] == errors
    assert all(error["detail"].endswith(".") for error in problem.errors)


def test_decode_json__hundreds_of_unknown_fields__names_twenty_and_cuts_long_names() -> None:
    problem = refusal(json.dumps({"x" * 5000 + str(number): 1 for number in range(100)}).encode())
    assert len(problem.errors) == 20
    assert {len(error["field"]) for error in problem.errors} == {100}


def test_decode_json__wrong_type__says_it_in_words_of_json() -> None:
    assert refusal(b'{"count": "1"}').errors[0]["detail"] == "Expected integer or null, got string."
    assert refusal(b'{"count": "1"}').detail == "count: Expected integer or null, got string."


class Mode(StrEnum):
    CHECK = "check"
    HOLD = "hold"


class Bounded(msgspec.Struct, forbid_unknown_fields=True):
    mode: Mode | None = None
    ttl: Annotated[int, msgspec.Meta(ge=1, le=60)] = 1
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=5)] = "x"
    lines: Annotated[list[dict[str, Mode]], msgspec.Meta(max_length=2)] = []
    at: datetime | None = None


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b'{"mode": "keep"}', "mode: Expected one of: check, hold."),
        (b'{"other": 1, "lines": [{}, {"a": "keep"}]}', "other: This field is not known here."),
        (b'{"lines": [{}, {"a": "keep"}]}', "lines.1.*: Expected one of: check, hold."),
        (b'{"ttl": 0}', "ttl: At least 1."),
        (b'{"ttl": 61}', "ttl: At most 60."),
        (b'{"name": ""}', "name: At least 1 character."),
        (b'{"name": "abcdef"}', "name: At most 5 characters."),
        (b'{"lines": [{}, {}, {}]}', "lines: At most 2 entries."),
        (b'{"at": "yesterday"}', "at: A time is RFC 3339, with an offset or Z."),
    ],
)
def test_decode_json__value_out_of_bounds__says_what_may_stand_there(raw: bytes, detail: str) -> None:
    with pytest.raises(Problem) as caught:
        decode_json(raw, type=Bounded)
    assert caught.value.detail == detail


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\u0d8e1. ', max_size=40).map(str.encode))
def test_decode_json__any_bytes__give_a_value_or_a_problem(raw: bytes) -> None:
    try:
        decode_json(raw, type=Command)
    except Problem as problem:
        assert problem.status in {400, 422}  # noqa: PT017 - either outcome is right


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcü", max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(json_values, st.booleans())
def test_decode_json__any_sound_value__comes_through_unchanged(value: Any, escaped: bool) -> None:
    raw = json.dumps({"anything": value}, ensure_ascii=escaped).encode()
    assert decode_json(raw, type=Command).anything == value
