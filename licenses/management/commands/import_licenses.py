"""`manage.py import_licenses`: issue a licence for each line of a CSV file."""

import csv
import os
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from common.errors import Invalid
from licenses.domain.license_csv import FAULTS
from licenses.services.license_import import Imported, ImportReport, Reject, import_licenses, read_lines
from tenants.domain.actors import Actor
from tenants.domain.enums import ActorKind
from tenants.models import Tenant


class Command(BaseCommand):
    help = (
        "Issue a licence for each line of a CSV file whose reference no licence has yet. Good lines are imported; bad "
        "ones are told, written to a file of rejects, and make the command end with status 1."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--tenant", metavar="SLUG", required=True, help="the workspace")
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
        parser.add_argument(
            "--rejects", metavar="FILE", type=Path, help="where bad lines go; FILE.rejects.csv unless said"
        )
        parser.add_argument("--keys", metavar="FILE", type=Path, help="write the new licence keys there, for you alone")

    def handle(
        self,
        *_args: Any,
        file: Path,
        tenant: str,
        dry_run: bool,
        rejects: Path | None,
        keys: Path | None,
        **_options: Any,
    ) -> None:
        workspace = Tenant.objects.filter(slug=tenant).first()
        if workspace is None:
            raise CommandError(f"There is no workspace {tenant!r}.", returncode=2)
        if keys is not None and keys.exists() and not dry_run:
            raise CommandError(f"{keys} exists already; name another file for the keys.", returncode=2)
        actor = Actor(kind=ActorKind.WORKER, name="import_licenses")
        try:
            with file.open(encoding="utf-8-sig", newline="") as text, _keys_to(None if dry_run else keys) as keep:
                report = import_licenses(
                    tenant=workspace, actor=actor, lines=read_lines(text), dry_run=dry_run, on_imported=keep
                )
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}.", returncode=2) from None
        except Invalid as error:
            raise CommandError(f"{file}: {error.detail}", returncode=2) from None
        self._tell(report, dry_run=dry_run)
        if report.rejects:
            if not dry_run:
                where = rejects or file.with_name(f"{file.name}.rejects.csv")
                _write_rejects(where, report.rejects)
                self.stderr.write(f"The bad lines are in {where}.")
            raise SystemExit(1)

    def _tell(self, report: ImportReport, *, dry_run: bool) -> None:
        for reject in report.rejects:
            where = f"line {reject.line.number}"
            self.stderr.write(": ".join(part for part in (where, reject.column, reject.detail) if part))
        done = "would be issued" if dry_run else "issued"
        self.stdout.write(
            f"{len(report.imported)} {done}, {report.known} there already, {len(report.rejects)} rejected."
        )


@contextmanager
def _keys_to(path: Path | None) -> Iterator[Callable[[Sequence[Imported]], None] | None]:
    """What writes the keys of imported licences to a file of ours alone; they are shown once, so as they come."""
    if path is None:
        yield None
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(("reference", "license", "license_key"))

        def keep(imported: Sequence[Imported]) -> None:
            writer.writerows((each.reference, each.license.public_id, each.license_key or "") for each in imported)
            text.flush()

        yield keep


def _write_rejects(path: Path, rejects: Sequence[Reject]) -> None:
    named = dict.fromkeys(name for reject in rejects for name in reject.line.cells)
    columns = [name for name in named if name not in FAULTS]
    with path.open("w", encoding="utf-8", newline="") as text:
        csv.writer(text).writerows(_reject_rows(columns, rejects))


def _reject_rows(columns: Sequence[str], rejects: Iterable[Reject]) -> Iterable[Sequence[Any]]:
    yield [*columns, *FAULTS]
    for reject in rejects:
        cells = [reject.line.cells.get(name, "") for name in columns]
        yield [*cells, reject.line.number, reject.column, reject.code, reject.detail]
