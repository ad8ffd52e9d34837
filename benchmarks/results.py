"""What was measured is kept as JSON lines, a file for each group, so that a report can be written from it later."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import pace

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "build" / "bench"
#: What short rounds came to, and what was slowed down by profilers, is kept apart.
FOLDER = KEPT / ("profiled" if pace.PROFILE else "quick" if pace.QUICK else "full")


@dataclass(frozen=True, slots=True)
class Measured:
    """A group's lines, when they were measured, and the settings that were noted."""

    group: str
    at: str
    notes: dict[str, Any]
    lines: list[dict[str, Any]]


class GroupFile:
    """Lines are written as they come; what the group left there before is gone with the first."""

    def __init__(self, group: str, notes: Mapping[str, Any], folder: Path | None = None) -> None:
        folder = folder or FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{group}.jsonl"
        head = {"group": group, "at": datetime.now(UTC).isoformat(timespec="seconds"), "notes": dict(notes)}
        self.path.write_text(json.dumps(head) + "\n")

    def add(self, line: Mapping[str, Any]) -> None:
        """Append a line."""
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def read_results(folder: Path, groups: Iterable[str]) -> list[Measured]:
    """What there is of these groups, in their order; groups that yielded nothing are left out."""
    found = []
    for group in groups:
        path = folder / f"{group}.jsonl"
        if not path.exists():
            continue
        head, *lines = (json.loads(text) for text in path.read_text().splitlines())
        if lines:
            found.append(Measured(head["group"], head["at"], head["notes"], lines))
    return found
