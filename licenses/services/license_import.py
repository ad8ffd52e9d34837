"""Licences that move in from elsewhere, line by line; running an import again adds what is not there yet."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Q

from common.errors import Invalid, Problem
from common.ids import Prefix, parse_any_id
from licenses.domain.license_csv import REFERENCE, CellError, check_header, is_suspended, read_cells
from licenses.models import License
from licenses.services.bulk_issuing import issue_licenses
from licenses.services.license_states import suspend_license
from tenants.domain.actors import Actor
from tenants.models import Tenant
from tenants.services.locks import lock_configuration

CHUNK: Final = 500


class Line(NamedTuple):
    """A line of the file that begins on `number`; `cells` by column, `extra` if there are more than columns."""

    number: int
    cells: Mapping[str, str]
    extra: bool = False


class Reject(NamedTuple):
    """A line that was not imported: its cells, and what is wrong in which column."""

    line: Line
    column: str
    code: str
    detail: str


class Imported(NamedTuple):
    """A licence that was issued for a line; the key is shown once, and None if it is only carried signed."""

    reference: str
    license: License
    license_key: str | None


@dataclass(slots=True)
class ImportReport:
    """What became of the lines."""

    imported: list[Imported] = field(default_factory=list)
    known: int = 0
    rejects: list[Reject] = field(default_factory=list)


def read_lines(text: Iterable[str]) -> Iterator[Line]:
    """The lines below the header. Raises Invalid for a file that cannot be read."""
    reader = csv.reader(text, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if faults := check_header(header):
            raise Invalid(" ".join(faults))
        begins = reader.line_num + 1
        for cells in reader:
            if cells:
                yield Line(begins, dict(zip(header, cells, strict=False)), extra=len(cells) > len(header))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise Invalid(f"Line {reader.line_num}: {error}.") from None
    except UnicodeDecodeError:
        raise Invalid("The file is not UTF-8.") from None


def import_licenses(
    *,
    tenant: Tenant,
    actor: Actor,
    lines: Iterable[Line],
    dry_run: bool = False,
    on_imported: Callable[[Sequence[Imported]], None] | None = None,
) -> ImportReport:
    """Issue a licence for each good line whose reference no licence has; the others are in the report.

    The reference is kept as `reference` in the licence's metadata; a licence's own id counts as its reference, too.
    Chunks are committed one by one, so that a second run goes on where the first was stopped. `dry_run` does all of
    it and keeps nothing. `on_imported` is given what each chunk has brought once it is kept, as keys are shown once.
    Raises Invalid for a file that cannot be read, RevocationPending.
    """
    report = ImportReport()
    seen: dict[str, int] = {}
    zone = ZoneInfo(tenant.timezone)
    rest = iter(lines)
    while chunk := list(islice(rest, CHUNK)):
        good: list[tuple[Line, dict[str, Any]]] = []
        before = len(report.imported)
        for line in chunk:
            try:
                good.append((line, _read(line, seen, zone)))
            except CellError as error:
                report.rejects.append(Reject(line, error.column, error.code, error.detail))
        with transaction.atomic():
            lock_configuration(tenant.id)  # an import beside this one waits, and then finds what this one made
            _import(tenant, actor, good, report)
            if dry_run:
                transaction.set_rollback(True)
        if on_imported is not None and not dry_run:
            on_imported(report.imported[before:])
    report.rejects.sort(key=lambda reject: reject.line.number)
    return report


def _read(line: Line, seen: dict[str, int], zone: ZoneInfo) -> dict[str, Any]:
    if line.extra:
        raise CellError("", "too_many", "The line has more cells than the header.")
    item = read_cells(line.cells, zone=zone)
    reference = item["metadata"][REFERENCE]
    if (before := seen.setdefault(reference, line.number)) != line.number:
        raise CellError("reference", "duplicate", f"Line {before} has this reference already.")
    return item


def _import(tenant: Tenant, actor: Actor, good: Sequence[tuple[Line, dict[str, Any]]], report: ImportReport) -> None:
    known = _known(tenant, [item["metadata"][REFERENCE] for _, item in good])
    fresh = [(line, item) for line, item in good if item["metadata"][REFERENCE] not in known]
    report.known += len(good) - len(fresh)
    results = issue_licenses(tenant=tenant, actor=actor, items=[item for _, item in fresh])
    for (line, item), result in zip(fresh, results, strict=True):
        if isinstance(result, Problem):
            report.rejects.append(_rejected(line, result))
            continue
        if is_suspended(line.cells):
            suspend_license(tenant=tenant, license_id=result.license.id, actor=actor, reason="Imported as suspended.")
        report.imported.append(Imported(item["metadata"][REFERENCE], result.license, result.license_key))


def _known(tenant: Tenant, references: Sequence[str]) -> set[str]:
    """Those that a licence has already."""
    ids = {parsed[1]: text for text in references if (parsed := parse_any_id(text)) and parsed[0] == Prefix.LICENSE}
    mine = License.objects.for_tenant(tenant)
    found = {ids[id] for id in mine.filter(pk__in=ids).values_list("id", flat=True)}
    named = Q(pk__in=())
    for reference in references:
        named |= Q(metadata__contains={REFERENCE: reference})
    return found | {metadata[REFERENCE] for metadata in mine.filter(named).values_list("metadata", flat=True)}


def _rejected(line: Line, problem: Problem) -> Reject:
    if not problem.errors:
        return Reject(line, "", problem.code, problem.detail)
    error = problem.errors[0]
    column = {"customer.external_id": "external_id", "customer.name": "customer_name"}.get(error["field"])
    column = column or {"customer.email": "customer_email", "customer": "external_id"}.get(error["field"])
    return Reject(line, column or error["field"].partition(".")[0], error["code"], error["detail"])
