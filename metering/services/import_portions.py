"""A stream of an import in portions: lines of either format, as many at a time as one transaction takes."""

from collections.abc import Iterator

from metering.services.import_csv import CsvReader
from metering.services.import_formats import ImportedLine, ImportFormat, read_ndjson
from metering.services.import_streams import RawLine


def portions_of(
    lines: Iterator[RawLine], format_: ImportFormat, *, after: int, at_once: int
) -> Iterator[list[ImportedLine]]:
    """Events in portions of about `at_once` lines; lines that end by offset `after` are passed over.

    The lines are those from the stream's beginning: a CSV's header is read whatever is passed over. Raises
    ImportBroken.
    """
    csv = None
    if format_ is ImportFormat.CSV:
        header = next((line for line in lines if line.data.strip()), None)
        if header is None:
            return
        csv = CsvReader(header)
    read = csv or read_ndjson
    portion: list[RawLine] = []
    for line in lines:
        if line.end <= after:
            continue
        portion.append(line)
        if len(portion) >= at_once:
            found = read(portion)
            portion = []
            # A record that goes on in the next lines is not parted: the import could not go on in the middle of it.
            if csv is not None and csv.is_open:
                found += _rest_of_record(csv, lines)
            yield found
    found = read(portion)
    if csv is not None:
        found += csv.rest()
    if found:
        yield found


def _rest_of_record(csv: CsvReader, lines: Iterator[RawLine]) -> list[ImportedLine]:
    found: list[ImportedLine] = []
    for line in lines:
        found += csv([line])
        if not csv.is_open:
            break
    return found
