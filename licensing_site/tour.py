"""The five-minute tour as README.md has it: one text for the page on `/docs/tour/` and for the test that pastes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

from django.conf import settings
from django.utils.safestring import SafeString, mark_safe

_HEADING = "## Five-minute tour\n"
_STEP = re.compile(
    r"^### \d+\. (?P<title>.+?)\n\n(?P<text>.+?)\n\n```sh\n(?P<commands>.+?)^```$", re.MULTILINE | re.DOTALL
)
_CODE = re.compile(r"`([^`]+)`")
_STRONG = re.compile(r"\*\*([^*]+)\*\*")


@dataclass(frozen=True, slots=True)
class Step:
    """A heading, what is done and why, and the commands."""

    title: str
    text: SafeString
    commands: str


@cache
def read_tour() -> tuple[Step, ...]:
    """The steps of the README's tour, in order."""
    readme = (Path(settings.BASE_DIR) / "README.md").read_text(encoding="utf-8")
    section = readme.partition(_HEADING)[2].partition("\n## ")[0]
    return tuple(
        Step(title=found["title"], text=_inline(found["text"]), commands=found["commands"].rstrip("\n"))
        for found in _STEP.finditer(section)
    )


def _inline(markdown: str) -> SafeString:
    """A paragraph's inline code and emphasis as HTML; the README uses no more than that in the tour's steps."""
    html = _STRONG.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", escape(markdown, quote=False)))
    return mark_safe(html)  # noqa: S308 (a file of the checkout, escaped just before)
