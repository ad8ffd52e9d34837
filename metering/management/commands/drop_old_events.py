"""`manage.py drop_old_events`: write the months that are past keeping to files, and drop them."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from metering.models import DroppedMonth
from metering.services.dropping import drop_old_events


class Command(BaseCommand):
    help = (
        "Write every month of events that is past PERMETER_EVENT_RETENTION_DAYS to a file, and drop it. Balances keep "
        "what they had of it, roll-ups and bills stay. Ends with status 1 if a month that should go has to stay, and "
        "says why. Safe to break off and to run again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        to = parser.add_mutually_exclusive_group(required=True)
        to.add_argument("--export-to", metavar="FOLDER", type=Path, help="where the files go, with their checksums")
        to.add_argument("--without-export", action="store_true", help="drop them for good")

    def handle(self, *_args: Any, export_to: Path | None = None, **_options: Any) -> None:
        dropped = drop_old_events(export_to=export_to, on_month=self._tell)
        self.stdout.write(f"{len(dropped.months)} months dropped: {dropped.events} events, {dropped.ids} ids forgotten")
        if dropped.refused:
            raise CommandError(dropped.refused, returncode=1)

    def _tell(self, month: DroppedMonth) -> None:
        where = f", in {month.exported_to} (SHA-256 {month.sha256})" if month.exported_to else ""
        self.stdout.write(f"{month.name}: {month.events} events{where}")
