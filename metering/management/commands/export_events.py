"""`manage.py export_events`: events as gzipped NDJSON, with a checksum."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_datetime

from metering.selectors.history import months_of_events
from metering.services.exporting_events import export_events
from tenants.models import Tenant


class Command(BaseCommand):
    help = (
        "Write events to FILE, one JSON object a line, gzipped, and its SHA-256 to FILE.sha256. The file appears under "
        "its name once it is complete. Ends with status 2 where what was asked for does not exist."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path)
        parser.add_argument("--tenant", metavar="SLUG", help="only this workspace")
        parser.add_argument("--from", metavar="TIME", dest="since", type=_time, help="RFC 3339; the first instant")
        parser.add_argument(
            "--to", metavar="TIME", dest="until", type=_time, help="RFC 3339; the instant after the last"
        )
        parser.add_argument("--month", metavar="YYYY_MM", help="one month's partition")

    def handle(self, *_args: Any, file: Path, tenant: str | None = None, **options: Any) -> None:
        workspace = Tenant.objects.filter(slug=tenant).first() if tenant else None
        if tenant and workspace is None:
            raise CommandError(f"There is no workspace {tenant!r}.", returncode=2)
        table = f"metering_usageevent_{options['month']}" if options["month"] else "metering_usageevent"
        if options["month"] and table not in {month.name for month in months_of_events()}:
            raise CommandError(f"There are no events of the month {options['month']!r}.", returncode=2)
        exported = export_events(
            to=file,
            table=table,
            tenant_id=workspace.id if workspace else None,
            since=options["since"],
            until=options["until"],
        )
        self.stdout.write(f"{exported.events} events in {exported.path}, SHA-256 {exported.sha256}")


def _time(text: str) -> datetime:
    try:
        at = parse_datetime(text)
    except ValueError:
        at = None
    if at is None or at.utcoffset() is None:
        raise ArgumentTypeError("A time is RFC 3339, with an offset or Z.")
    return at
