"""Licences as lines of CSV: which columns there are, and what their cells mean."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo
from typing import Any, Final

#: What an import reads; an export writes these and the others.
READ: Final = (
    "reference",
    "external_id",
    "customer_name",
    "customer_email",
    "plan",
    "add_ons",
    "kind",
    "status",
    "starts_at",
    "expires_at",
    "metadata",
)
_SHOWN: Final = ("id", "product", "key_hint", "created_at")
#: What an import says of a line beside its cells.
FAULTS: Final = ("line", "column", "code", "detail")
#: What an export writes.
COLUMNS: Final = (*READ, *_SHOWN)
#: An import passes over what it does not read, so that exports and mended rejects can be imported as they are.
KNOWN: Final = (*COLUMNS, *FAULTS)
REQUIRED: Final = ("reference", "external_id", "plan")

NEVER: Final = "never"

#: Where a licence keeps what the other system calls it.
REFERENCE: Final = "reference"

# A cell that begins so is run as a formula by spreadsheets (OWASP, CSV injection).
_DANGEROUS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_QUOTE: Final = "'"

_ENDED: Final = "revoked"
_KNOWN_STATES: Final = ("", "active", "trial", "not_started", "grace", "expired", "suspended")


class CellError(ValueError):
    """A cell that cannot be read; `code` is stable."""

    def __init__(self, column: str, code: str, detail: str) -> None:
        """`detail` is a sentence for whoever made the file."""
        super().__init__(detail)
        self.column = column
        self.code = code
        self.detail = detail


def safe_cell(value: str) -> str:
    """The text as spreadsheets show it instead of running it: with an apostrophe before what they would run."""
    return _QUOTE + value if value.startswith((*_DANGEROUS, _QUOTE)) else value


def plain_cell(cell: str) -> str:
    """The text that `safe_cell` made safe; others stay as they are."""
    return cell[1:] if cell.startswith(tuple(_QUOTE + each for each in (*_DANGEROUS, _QUOTE))) else cell


def check_header(header: Iterable[str]) -> list[str]:
    """What is wrong with the names of the columns, a sentence each."""
    names = list(header)
    missing = [f"The column {name} is missing." for name in REQUIRED if name not in names]
    unknown = [f"The column {name!r} is not known." for name in names if name not in KNOWN]
    doubled = [f"The column {name} stands there twice." for name in KNOWN if names.count(name) > 1]
    return [*missing, *unknown, *doubled]


def read_cells(cells: Mapping[str, str], *, zone: tzinfo) -> dict[str, Any]:
    """A line as the fields of a licence that is to be issued, with its customer, reference and whether it is suspended.

    A time without an offset, and a day, are the workspace's. Raises CellError.
    """
    given = {name: plain_cell(cells.get(name, "")).strip() for name in READ}
    for name in REQUIRED:
        if not given[name]:
            raise CellError(name, "required", "This cell cannot be empty.")
    status = given["status"].lower()
    if status == _ENDED:
        raise CellError("status", "revoked", "A revoked license does not come back, not even by an import.")
    if status not in _KNOWN_STATES:
        raise CellError("status", "invalid_choice", f"This is one of {', '.join(_KNOWN_STATES[1:])}.")
    customer = {"external_id": given["external_id"], "name": given["customer_name"], "email": given["customer_email"]}
    item: dict[str, Any] = {
        "customer": customer,
        "plan": given["plan"],
        "add_ons": given["add_ons"].split(),
        "metadata": {**_metadata(given["metadata"]), REFERENCE: given["reference"]},
    }
    if given["kind"]:
        item["kind"] = given["kind"].lower()
    if given["starts_at"]:
        item["starts_at"] = _time("starts_at", given["starts_at"], zone)
    if given["expires_at"].lower() == NEVER:
        item["perpetual"] = True
    elif given["expires_at"]:
        item["expires_at"] = _time("expires_at", given["expires_at"], zone)
    return item


def is_suspended(cells: Mapping[str, str]) -> bool:
    """Whether the line says so."""
    return plain_cell(cells.get("status", "")).strip().lower() == "suspended"


def _time(column: str, text: str, zone: tzinfo) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        detail = "A time is a day such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z."
        raise CellError(column, "invalid_time", detail) from None
    return at if at.tzinfo is not None else at.replace(tzinfo=zone)


def _metadata(text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise CellError("metadata", "wrong_type", 'Metadata is a JSON object such as {"team": "search"}.')
    return value
