"""Rows of a usage report as CSV or NDJSON, a line at a time."""

import csv
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from common.clock import rfc3339
from common.quantities import format_quantity
from licenses.domain.license_csv import safe_cell
from metering.selectors.usage import UsageReport

_encode = msgspec.json.Encoder().encode


class _Echo:
    """What the csv module writes to: it hands the line back."""

    def write(self, line: str) -> str:
        return line


def usage_as_ndjson(report: UsageReport) -> Iterator[bytes]:
    """A JSON object for each row: `start`, `end`, `group`, `value`."""
    for row in report.rows:
        fields = {"start": rfc3339(row.start), "end": rfc3339(row.end), "group": row.group}
        yield _encode(fields | {"value": format_quantity(row.value)}) + b"\n"


def usage_as_csv(report: UsageReport, group_by: Sequence[str]) -> Iterator[str]:
    """A header with the names of `group_by` between the bounds and the value, and a record for each row.

    What a spreadsheet would run as a formula is preceded by an apostrophe; values are numbers, also below 0.
    """
    writer: Any = csv.writer(_Echo(), lineterminator="\r\n")  # RFC 4180
    yield writer.writerow(["start", "end", *map(safe_cell, group_by), "value"])
    for row in report.rows:
        group = [safe_cell(row.group.get(name) or "") for name in group_by]
        yield writer.writerow([rfc3339(row.start), rfc3339(row.end), *group, format_quantity(row.value)])
