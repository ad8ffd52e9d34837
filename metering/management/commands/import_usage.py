"""`manage.py import_usage`: usage from a file, by the gigabyte."""

import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from common.errors import Problem
from metering.services.import_files import FileImportBusy, format_of, import_file
from metering.services.import_formats import ImportFormat
from metering.services.import_runs import ImportProgress
from metering.services.import_streams import ImportBroken
from tenants.models import Tenant
from tenants.services.jobs import LeaseLostError

_TOLD_EVERY = 0.5
_BAR = 30


class Command(BaseCommand):
    help = (
        "Record usage from a file of NDJSON or CSV, plain or gzip: a line is an event with its agent or license. They "
        "may be as old as they are kept. Lines that are refused go to a file, with reasons, and make the command end "
        "with status 1. If it is killed, the same command goes on where it was."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--tenant", metavar="SLUG", required=True, help="the workspace")
        parser.add_argument("--format", choices=[str(each) for each in ImportFormat], help="by the file's name if not")
        parser.add_argument(
            "--rejected", type=Path, metavar="FILE", help="where refused lines go; FILE.rejected.ndjson if not said"
        )
        parser.add_argument("--again", action="store_true", help="begin anew instead of going on")

    def handle(self, *_args: Any, file: Path, tenant: str, **options: Any) -> None:
        try:
            workspace = Tenant.objects.get(slug=tenant)
        except Tenant.DoesNotExist:
            raise CommandError(f"There is no workspace {tenant!r}.", returncode=2) from None
        if not file.is_file():
            raise CommandError(f"There is no file {file}.", returncode=2)
        rejected = options["rejected"] or file.with_name(f"{file.name}.rejected.ndjson")
        format_ = ImportFormat(options["format"]) if options["format"] else format_of(file)
        bar = _Bar(file.stat().st_size, self.stderr)
        while True:
            try:
                done = import_file(
                    tenant=workspace, path=file, format_=format_, rejected=rejected, again=options["again"], watch=bar
                )
                break
            except FileImportBusy as busy:
                self.stderr.write(f"This file is being imported, or was killed just now: waiting {busy.seconds:.0f} s.")
                time.sleep(busy.seconds + 0.1)
            except ImportBroken as broken:
                bar.end()
                raise CommandError(f"{broken.code}: {broken.detail} What came before is recorded.") from None
            except LeaseLostError:
                bar.end()
                raise CommandError("Another command has taken this import over.") from None
            except Problem as problem:
                bar.end()
                raise CommandError(f"{problem.code}: {problem.detail} The same command goes on from here.") from None
        bar.end()
        self.stdout.write(
            f"{done.line} lines: {done.recorded} recorded, {done.duplicates} duplicates, "
            f"{done.conflicts} conflicts, {done.rejected} rejected."
        )
        if done.conflicts or done.rejected:
            nothing = "" if done.recorded or done.duplicates else "Nothing was taken. "
            self.stdout.write(f"{nothing}Refused lines with reasons: {rejected}")
            raise SystemExit(1)
        rejected.unlink(missing_ok=True)


class _Bar:
    """How far it is, on a terminal in place, elsewhere not at all."""

    def __init__(self, size: int, out: Any) -> None:
        self._size = max(size, 1)
        self._out = out
        self._shown = sys.stderr.isatty()
        self._began = time.monotonic()
        self._told = 0.0
        self._first: int | None = None

    def __call__(self, progress: ImportProgress, read: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = progress.line
        if not self._shown or now - self._told < _TOLD_EVERY:
            return
        self._told = now
        share = min(1.0, read / self._size)
        rate = (progress.line - self._first) / max(now - self._began, 0.001)
        done = round(_BAR * share)
        refused = progress.conflicts + progress.rejected
        self._out.write(
            f"\r[{'#' * done}{'.' * (_BAR - done)}] {share:6.1%}  {progress.line:,} lines  {rate:,.0f}/s  "
            f"{refused:,} refused",
            ending="",
        )
        self._out.flush()

    def end(self) -> None:
        """The bar has been shown for the last time."""
        if self._told:
            self._out.write("")
