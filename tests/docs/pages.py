"""What the written pages say, as data: tables, links, and blocks of shell."""

from __future__ import annotations

import re
from pathlib import Path

from licensing_site.environment import BASE_DIR

_ROW = re.compile(r"^\|\s*`(?P<first>[^`]+)`", re.MULTILINE)
_BLOCK = re.compile(r"^```sh\n(?P<lines>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


def page(name: str) -> str:
    """A page's text, by its path in the checkout."""
    return (BASE_DIR / name).read_text(encoding="utf-8")


def first_column(text: str) -> list[str]:
    """What stands in backticks at the beginning of each row of every table, in order."""
    return [match["first"] for match in _ROW.finditer(text)]


def shell_blocks(text: str) -> list[list[str]]:
    """The lines of each block that is marked `sh`."""
    return [match["lines"].splitlines() for match in _BLOCK.finditer(text)]


def links(text: str) -> list[str]:
    """Targets of links that lead into the checkout, without what comes after `#`."""
    targets = (match["target"] for match in _LINK.finditer(text))
    return [target.partition("#")[0] for target in targets if "://" not in target and not target.startswith("#")]


def written_pages() -> list[Path]:
    """Every page that people read."""
    return [*BASE_DIR.glob("*.md"), *sorted((BASE_DIR / "docs").rglob("*.md"))]
