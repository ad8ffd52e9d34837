"""Bounded, strict decoding of JSON into typed structures: what is refused here never reaches a rule or the database.

Two passes: the first refuses what msgspec lets through (names that occur twice, deep nesting, NUL, broken characters),
the second decodes into the type. What is no JSON is 400 `malformed_json`; fields that do not hold are 422 `invalid`
with a path and a stable code each: `unknown_field`, `required`, `wrong_type`, `invalid`.
"""

import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any, Final, NoReturn, TypeVar, cast

import msgspec

from common.errors import BadRequest, FieldError, Invalid

MAX_DEPTH: Final = 32
MAX_ERRORS: Final = 20

_MAX_NAME: Final = 100
_SURROGATES_OR_NUL: Final = re.compile("[\x00\ud800-\udfff]")
_LOCATED: Final = re.compile(r"(?s)(?P<message>.*?)(?: - at (?:`(?P<key>key)` in )?`(?P<path>\$[^`]*)`)?")
_UNKNOWN_FIELD: Final = re.compile(r"(?s)Object contains unknown field `(?P<name>.*)`")
_MISSING_FIELD: Final = re.compile(r"Object missing required (?:tag )?field `(?P<name>[^`]*)`")
_WRONG_TYPE: Final = re.compile(r"Expected `(?P<expected>[^`]*)`, got `(?P<got>[^`]*)`")
_BOUND: Final = re.compile(r"Expected `(?P<what>[^`]*)` (?P<length>of length )?(?P<sign>[<>]=) (?P<bound>-?[\d.]+)")
_CHOICE: Final = "Invalid enum value"
_PATH_STEP: Final = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+|\.\.\.)\]")
_CONTAINERS: Final = frozenset({dict, list})
_TYPE_WORDS: Final = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "decimal": "decimal"}

T = TypeVar("T")
Path = tuple[str | int, ...]


def decode_json(
    raw: bytes,
    *,
    type: type[T],
    empty_as_object: bool = False,
) -> T:
    """The body as `type` (a msgspec Struct, or anything msgspec can decode into). Raises BadRequest and Invalid.

    `empty_as_object` reads an empty body as `{}`, for endpoints whose every field is optional.
    """
    if not raw.strip():
        if not empty_as_object:
            raise BadRequest("malformed_json", "The body is empty.")
        raw = b"{}"
    tree = parse_strictly(raw)
    try:
        return cast("T", _decoder(cast("Any", type)).decode(raw))
    except msgspec.ValidationError as error:
        raise _explain(error, tree, type) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _malformed() from None


def parse_strictly(raw: bytes, *, apart: str | None = None) -> Any:
    """The body as plain Python values, refused as `decode_json` refuses it. Its numbers are not exact.

    What stands in the list called `apart` may hold broken text: its entries are `check_text_of` one by one.
    """
    try:
        text = raw.decode("utf-8")
        tree = _PARSER.decode(text)
    except UnicodeDecodeError:
        raise BadRequest("malformed_json", "The body is not UTF-8.") from None
    except (ValueError, RecursionError) as error:
        raise _malformed(error) from None
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _is_deeper_than(tree, MAX_DEPTH):
        raise BadRequest("malformed_json", f"The body is nested more than {MAX_DEPTH} levels deep.")
    # A NUL can be written in an escape only, and so can half a character: without escapes there is nothing to look for.
    if b"\\u" in raw:
        _refuse_broken(path for path in _broken_strings(tree) if apart is None or not _is_within(path, apart))
    return tree


def check_text_of(tree: Any) -> None:
    """Raise Invalid where a text holds what no text can."""
    _refuse_broken(_broken_strings(tree))


def parse_leniently(raw: bytes) -> Any:
    """The body as plain Python values, whatever is inside; None if it is not JSON or repeats a name at the top."""
    try:
        tree = _LENIENT_PARSER.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return None if isinstance(tree, _Repeated) else tree


def field_error(error: msgspec.ValidationError) -> FieldError:
    """What msgspec's message says, as a field's path, a stable code and a sentence."""
    path, code, detail = _read_message(error)
    return {"field": path_text(path), "code": code, "detail": detail}


def path_text(path: Path) -> str:
    """`events.0.meter`; the whole body is the empty text."""
    return ".".join(str(step)[:_MAX_NAME] for step in path)


class _RepeatedNameError(ValueError):
    pass


class _NotANumberError(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _RepeatedNameError(name)
            seen.add(name)
    return members


class _Repeated(dict[str, Any]):
    """An object in which a name occurs twice."""


def _marked_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else _Repeated(members)


def _no_constant(name: str) -> NoReturn:
    raise _NotANumberError(name)


_PARSER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)
_LENIENT_PARSER: Final = json.JSONDecoder(object_pairs_hook=_marked_object, parse_constant=_no_constant)


@lru_cache(maxsize=256)
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _malformed(error: Exception | None = None) -> BadRequest | Invalid:
    if isinstance(error, _RepeatedNameError):
        return BadRequest(
            "malformed_json", f"The name {json.dumps(str(error)[:_MAX_NAME])} occurs twice in one object."
        )
    if isinstance(error, json.JSONDecodeError):
        return BadRequest("malformed_json", f"The body is not JSON: line {error.lineno}, column {error.colno}.")
    if type(error) is ValueError:
        # Python reads whole numbers of up to 4,300 digits, as longer ones cost quadratic time.
        return Invalid.field("", "invalid", "A number is too large.")
    return BadRequest("malformed_json", "The body is not JSON.")


def _is_deeper_than(tree: Any, limit: int) -> bool:
    # Level by level, not by recursion. Exact types: the parser makes no others, and a batch has thousands of values.
    level = [tree] if type(tree) in _CONTAINERS else []
    for _ in range(limit):
        inner: list[Any] = []
        for container in level:
            children = container.values() if type(container) is dict else container
            inner += [child for child in children if type(child) in _CONTAINERS]
        level = inner
    return bool(level)


def _broken_strings(tree: Any) -> Iterator[Path]:
    """Paths of strings with NUL or half a character; a broken name cannot be shown, so it gives its object's path."""
    waiting: list[tuple[Path, Any]] = [((), tree)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str):
            if _SURROGATES_OR_NUL.search(value):
                yield path
        elif isinstance(value, list):
            waiting.extend(((*path, index), child) for index, child in enumerate(value))
        elif isinstance(value, dict):
            if any(_SURROGATES_OR_NUL.search(name) for name in value):
                yield path
            else:
                waiting.extend(((*path, name), child) for name, child in value.items())


def _is_within(path: Path, name: str) -> bool:
    return len(path) > 1 and path[0] == name and isinstance(path[1], int)


def _refuse_broken(paths: Iterable[Path]) -> None:
    if errors := [_broken_text(path) for path in islice(paths, MAX_ERRORS)]:
        raise Invalid(errors[0]["detail"], errors=errors)


def _broken_text(path: Path) -> FieldError:
    return {"field": path_text(path), "code": "invalid", "detail": "Text holds neither NUL nor half a character."}


def _explain(error: msgspec.ValidationError, tree: Any, kind: Any) -> Invalid:
    """All unknown fields and the first other fault: msgspec stops at one, so that is taken out and the rest tried."""
    errors = [field_error(error)]
    while errors[-1]["code"] == "unknown_field" and len(errors) < MAX_ERRORS and _remove(tree, error):
        try:
            _decoder(kind).decode(json.dumps(tree))
        except msgspec.ValidationError as next_error:
            error = next_error
            errors.append(field_error(error))
        except (msgspec.DecodeError, RecursionError):
            break
        else:
            break
    if str(error).startswith(_CHOICE) and (words := _choices(kind, _read_message(error)[0])):
        errors[-1]["detail"] = f"Expected one of: {', '.join(words)}."
    return Invalid(f"{errors[0]['field'] or 'body'}: {errors[0]['detail']}", errors=errors)


def _remove(tree: Any, error: msgspec.ValidationError) -> bool:
    """Take the unknown field out of the tree, if its path can be followed."""
    (*parents, name), _, _ = _read_message(error)
    place = tree
    for step in parents:
        try:
            place = place[step]
        except (KeyError, IndexError, TypeError):
            return False
    if not isinstance(place, dict) or name not in place:
        return False
    del place[name]
    return True


def _read_message(error: msgspec.ValidationError) -> tuple[Path, str, str]:
    located = _LOCATED.fullmatch(str(error))
    message, path = (located["message"], _read_path(located["path"] or "$")) if located else (str(error), ())
    if match := _UNKNOWN_FIELD.fullmatch(message):
        return (*path, match["name"]), "unknown_field", "This field is not known here."
    if match := _MISSING_FIELD.fullmatch(message):
        return (*path, match["name"]), "required", "This field is required."
    if match := _WRONG_TYPE.fullmatch(message):
        return path, "wrong_type", f"Expected {_words(match['expected'])}, got {_words(match['got'])}."
    if match := _BOUND.fullmatch(message):
        return path, "invalid", _bound_words(match)
    if message.startswith("Invalid RFC3339 encoded datetime"):
        return path, "invalid", "A time is RFC 3339, with an offset or Z."
    return path, "invalid", f"{message}."


def _bound_words(match: re.Match[str]) -> str:
    side = "At least" if match["sign"] == ">=" else "At most"
    if not match["length"]:
        return f"{side} {match['bound']}."
    unit = "character" if match["what"].startswith("str") else "entry"
    many = unit if match["bound"] == "1" else {"character": "characters", "entry": "entries"}[unit]
    return f"{side} {match['bound']} {many}."


def _choices(kind: Any, path: Path) -> tuple[str, ...]:
    """The words that may stand at a place in the type; none where it has no such list."""
    waiting = [msgspec.inspect.type_info(kind)]
    for step in path:
        waiting = [inner for found in _alternatives(waiting) for inner in _inside(found, step)]
    words: list[str] = []
    for found in _alternatives(waiting):
        if isinstance(found, msgspec.inspect.EnumType):
            words += [str(member.value) for member in found.cls]
        elif isinstance(found, msgspec.inspect.LiteralType):
            words += [str(value) for value in found.values]
    return tuple(words)


def _alternatives(types: Iterable[msgspec.inspect.Type]) -> Iterator[msgspec.inspect.Type]:
    for found in types:
        if isinstance(found, msgspec.inspect.UnionType):
            yield from found.types
        else:
            yield found


def _inside(found: msgspec.inspect.Type, step: str | int) -> list[msgspec.inspect.Type]:
    if isinstance(found, msgspec.inspect.StructType):
        return [field.type for field in found.fields if field.encode_name == step]
    if isinstance(found, msgspec.inspect.CollectionType):
        return [found.item_type]
    return [found.value_type] if isinstance(found, msgspec.inspect.DictType) else []


def _read_path(text: str) -> Path:
    """Steps of `$.events[0].meter`. A key of a map is not told, so it becomes a star."""
    steps: list[str | int] = []
    for match in _PATH_STEP.finditer(text):
        if match["name"] is not None:
            steps.append(match["name"])
        else:
            steps.append("*" if match["index"] == "..." else int(match["index"]))
    return tuple(steps)


def _words(types: str) -> str:
    return " or ".join(_TYPE_WORDS.get(word, word) for word in types.split(" | "))
