"""CSV of an import as events: a header, then a record each."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from metering.services.import_formats import FIELDS, LINE_TOO_LONG, ImportedEvent, ImportedLine
from metering.services.import_streams import MAX_LINE, ImportBroken, RawLine
from metering.services.reported_usage import MAX_ID, LineFault

_DIMENSION: Final = "dimensions."
_encode = msgspec.json.Encoder().encode


class CsvReader:
    """Records below a header. A quoted field may hold line ends; a record is as long as a line may be.

    Columns are those of the events, and `dimensions.<name>` for each dimension; an empty cell is no value. The header
    says whether commas, semicolons or tabs part the columns. Raises ImportBroken `columns_invalid`.
    """

    def __init__(self, header: RawLine) -> None:
        if header.too_long:
            raise _columns("The header is too long.")
        text = _text(header.data)
        if isinstance(text, LineFault):
            raise _columns(text.detail)
        self._delimiter = next((each for each in ",;\t" if each in text), ",")
        names = self._fields(text)
        if isinstance(names, LineFault):
            raise _columns(names.detail)
        self.names = [name.strip() for name in names]
        self._check(self.names)
        self._dimensions = [
            (place, name.removeprefix(_DIMENSION)) for place, name in enumerate(self.names) if _DIMENSION in name
        ]
        self._own = [(place, name) for place, name in enumerate(self.names) if _DIMENSION not in name]
        self._open: list[RawLine] = []
        self._open_size = 0

    def __call__(self, lines: Sequence[RawLine]) -> list[ImportedLine]:
        """Events of these lines; a record that is not closed yet waits for the next call, or for `rest`."""
        return list(self._records(lines))

    def rest(self) -> list[ImportedLine]:
        """What was still open at the end."""
        left, self._open = self._open, []
        return [] if not left else list(self._broken(left, closing=True))

    @property
    def is_open(self) -> bool:
        """Whether a record goes on in the next lines."""
        return bool(self._open)

    def _records(self, lines: Iterable[RawLine]) -> Iterator[ImportedLine]:
        for line in lines:
            if self._open:
                self._open.append(line)
                self._open_size += len(line.data) + 1
                if self._open_size > MAX_LINE or line.too_long:
                    left, self._open = self._open, []
                    yield from self._broken(left)
                elif line.data.count(b'"') % 2:
                    left, self._open = self._open, []
                    event = self._event(b"\n".join([each.data for each in left]))
                    if isinstance(event, LineFault) and event.code == "csv_invalid":
                        yield from self._broken(left)
                    else:
                        data = b"\n".join([each.data for each in left])
                        yield ImportedLine(left[0].number, line.end, data, event)
            elif line.too_long:
                yield ImportedLine(line.number, line.end, line.data, LINE_TOO_LONG)
            elif line.data.count(b'"') % 2:
                self._open.append(line)
                self._open_size = len(line.data)
            elif line.data.strip():
                yield ImportedLine(line.number, line.end, line.data, self._event(line.data))

    def _broken(self, lines: list[RawLine], *, closing: bool = False) -> Iterator[ImportedLine]:
        """A quote that nothing closes takes its own line only: those after it are read anew."""
        while lines:
            first, *lines = lines
            fault = LineFault("", "csv_invalid", "A quote is not closed.")
            yield ImportedLine(first.number, first.end, first.data, fault)
            yield from self._records(lines)
            lines, self._open = (self._open, []) if closing else ([], self._open)

    def _event(self, data: bytes) -> ImportedEvent | LineFault:
        text = _text(data)
        if isinstance(text, LineFault):
            return text
        fields = self._fields(text)
        if isinstance(fields, LineFault):
            return fields
        if len(fields) != len(self.names):
            detail = f"The header has {len(self.names)} columns, this line {len(fields)}."
            return LineFault("", "columns_wrong", detail)
        try:
            return self._read(fields)
        except LineFault as fault:
            return fault

    def _read(self, fields: Sequence[str]) -> ImportedEvent:
        given = {name: fields[place] for place, name in self._own if fields[place]}
        values = {name: fields[place] for place, name in self._dimensions if fields[place]}
        for name in ("id", "meter"):
            if name not in given:
                raise LineFault(name, "required", "This field is required.")
        if len(given["id"]) > MAX_ID:
            raise LineFault("id", "invalid", f"An id has at most {MAX_ID} characters.")
        if values and "dimensions" in given:
            raise LineFault("dimensions", "dimension_repeated", "Dimensions are given twice.")
        at, quantity = given.get("occurred_at"), given.get("quantity")
        return ImportedEvent(
            id=given["id"],
            meter=given["meter"],
            quantity=UNSET if quantity is None else Raw(_encode(quantity.strip())),
            occurred_at=None if at is None else _moment(at.strip()),
            dimensions=_dimensions(given.get("dimensions"), values),
            agent=given.get("agent"),
            license=given.get("license"),
        )

    def _fields(self, text: str) -> list[str] | LineFault:
        try:
            return next(csv.reader((text,), delimiter=self._delimiter, strict=True), [])
        except csv.Error as error:
            return LineFault("", "csv_invalid", f"This is not CSV: {error}.")

    def _check(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in FIELDS and not (name.startswith(_DIMENSION) and len(name) > len(_DIMENSION)):
                known = ", ".join(FIELDS)
                raise _columns(f"There is no column {name[:100]!r}: known are {known} and dimensions.<name>.")
            if names.count(name) > 1:
                raise _columns(f"The column {name[:100]!r} comes twice.")
        for name in ("id", "meter"):
            if name not in names:
                raise _columns(f"The column {name} is missing from the header.")
        if "agent" not in names and "license" not in names:
            raise _columns("The header needs a column agent or license.")


_as_moment: Final = Annotated[datetime, Meta(tz=True)]


def _dimensions(written: str | None, values: dict[str, str]) -> Raw | UnsetType:
    if written is not None:
        return Raw(written.encode())
    return Raw(_encode(values)) if values else UNSET


def _moment(text: str) -> datetime:
    try:
        found: datetime = msgspec.convert(text, type=_as_moment)
    except msgspec.ValidationError:
        detail = "A time is written as in RFC 3339, such as 2026-11-23T09:00:00Z."
        raise LineFault("occurred_at", "invalid", detail) from None
    return found


def _text(data: bytes) -> str | LineFault:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return LineFault("", "encoding_invalid", "The line is not UTF-8.")


def _columns(detail: str) -> ImportBroken:
    return ImportBroken("columns_invalid", detail)
