"""In which order a run takes its files, so that its workers are busy to the end and do not all wait at once.

Tests with a stack mostly wait for other processes; the rest keeps a processor busy. So each file with a stack is
followed by its share of the others, long files before short ones, and the last are short.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

#: What of the tests without a stack stays for the end.
_LAST = 0.15


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """The same tests; those of a file stay together, as they were."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    by_length = sorted(files.values(), key=len, reverse=True)
    waiting = [file for file in by_length if any(item.get_closest_marker("stack") for item in file)]
    busy = [file for file in by_length if file not in waiting]
    return list(chain.from_iterable(_mixed(waiting, busy)))


def _mixed(waiting: list[list[pytest.Item]], busy: list[list[pytest.Item]]) -> Iterator[list[pytest.Item]]:
    early = sum(map(len, busy)) * (1 - _LAST)
    others = iter(busy)
    given = 0
    for number, file in enumerate(waiting, 1):
        yield file
        while given < early * number / len(waiting):
            other = next(others)
            given += len(other)
            yield other
    yield from others
