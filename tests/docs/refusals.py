"""The page that provokes refusals, as data: which section is about which code, what it calls, what it promises."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.docs.pages import first_column, page, shell_blocks

PAGE = "docs/how-to/provoke-every-refusal.md"
ERROR_CODES = "docs/reference/error-codes.md"
#: The parts of the list of codes that licences, agents, keys, activations, tokens and holds are refused with.
PARTS = ("Problems of any request", "Idempotency", "Holds", "Licences and agents", "Reasons")
#: Codes of fields that belong to licences, too.
OF_FIELDS = frozenset({"jwk_malformed", "jwk_not_public"})

_HEADING = re.compile(r"^### `(?P<code>\w+)`(?P<more>.*)$", re.MULTILINE)
_ANSWER = re.compile(r"^```json\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_EXCUSED = "## What no sequence of calls leads to"


@dataclass(frozen=True, slots=True)
class Section:
    """`block` counts the page's blocks of shell from 1, and its last line is the call that is refused."""

    code: str
    title: str
    block: int
    last_line: int
    answer: Any


def sections() -> list[Section]:
    """Every section that provokes a code, in the page's order; each has one block of shell and one answer."""
    return list(_sections(page(PAGE)))


def _sections(text: str) -> Iterator[Section]:
    found = list(_HEADING.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)]
    for match, end in zip(found, ends, strict=True):
        body = text[match.end() : end].partition("\n## ")[0]
        [lines] = shell_blocks(body)
        [answer] = _ANSWER.findall(body)
        block = len(shell_blocks(text[: match.end()])) + 1
        yield Section(match["code"], match["code"] + match["more"], block, len(lines), json.loads(answer))


def listed_codes() -> set[str]:
    """What the list of codes says of the licence side."""
    parts = {part.partition("\n")[0]: part for part in page(ERROR_CODES).split("\n## ")}
    return {code for name in PARTS for code in first_column(parts[name])}


def excused_codes() -> set[str]:
    """What the page says no sequence of calls leads to."""
    rows = page(PAGE).partition(_EXCUSED)[2]
    first = [row.split("|")[1] for row in rows.splitlines() if row.startswith("| `")]
    return {code for cell in first for code in re.findall(r"`(\w+)`", cell)}


def codes_of(answer: Any) -> set[str]:
    """Every code that an answer is given with: its own, its reasons', its fields'."""
    found = {each["code"] for name in ("codes", "errors") for each in answer.get(name, ())}
    return found | {each["code"] for each in (answer, answer.get("context", {})) if "code" in each}


def holds_in(promised: Any, answer: Any) -> bool:
    """Whether all that is promised is in the answer: members of objects, some entry for each entry of a list.

    A promised empty list is an empty list; text before an ellipsis is how a text begins.
    """
    match promised:
        case dict():
            same = isinstance(answer, dict) and promised.keys() <= answer.keys()
            return same and all(holds_in(value, answer[name]) for name, value in promised.items())
        case []:
            return bool(answer == [])
        case list():
            return isinstance(answer, list) and all(any(holds_in(each, one) for one in answer) for each in promised)
        case str() if promised.endswith("…"):
            return isinstance(answer, str) and answer.startswith(promised[:-1])
        case _:
            return type(promised) is type(answer) and bool(promised == answer)
