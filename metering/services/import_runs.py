"""An import from where it was: a stream, read in portions, each recorded with how far the import is by then."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from metering.services.import_formats import ImportFormat
from metering.services.import_portions import portions_of
from metering.services.import_streams import lines_of, unpacked
from metering.services.importing import PORTION, Importer, PortionOutcome, RefusedLine
from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """What has become of all lines up to `line`, which ends at `offset` of the unpacked stream."""

    line: int = 0
    offset: int = 0
    recorded: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "ImportProgress":
        """As `as_json` wrote it, with whatever stands beside it."""
        return cls(**{each.name: stored.get(each.name, 0) for each in fields(cls)})

    def as_json(self) -> dict[str, int]:
        return asdict(self)

    @property
    def counts(self) -> dict[str, int]:
        """How many lines came to what."""
        return {name: getattr(self, name) for name in ("recorded", "duplicates", "conflicts", "rejected")}

    def after(self, outcome: PortionOutcome) -> "ImportProgress":
        """With one more portion."""
        counts = {name: number + outcome.counts.get(name, 0) for name, number in self.counts.items()}
        return ImportProgress(outcome.last_line, outcome.end, **counts)


#: Writes down how far the import is, and which lines were refused since then, in the portion's own transaction.
Remember = Callable[[ImportProgress, Sequence[RefusedLine]], None]


def run_import(
    *,
    tenant: Tenant,
    pieces: Iterable[bytes],
    format_: ImportFormat,
    backfill: bool,
    remember: Remember,
    begin: ImportProgress | None = None,
    portion: int = PORTION,
) -> ImportProgress:
    """Record the lines of a stream after those of `begin`, in constant memory.

    `remember` may run more than once for a portion and has to come to the same. Killed anywhere, what it wrote last
    is exactly what was counted. Raises ImportBroken, Unavailable, OutcomeUnknown, and what `remember` raises.
    """
    progress = begin or ImportProgress()
    importer = Importer(tenant, backfill=backfill)
    lines = lines_of(unpacked(pieces))
    found = portions_of(lines, format_, after=progress.offset, at_once=portion)
    for ready in importer.prepared(filter(None, found)):
        before = progress

        def keep(outcome: PortionOutcome, before: ImportProgress = before) -> None:
            remember(before.after(outcome), outcome.refused)

        progress = before.after(importer.record(ready, keep))
    return progress
