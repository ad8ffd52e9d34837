"""`manage.py maintain_partitions`: make the monthly partitions that events may need."""

from typing import Any

from django.core.management.base import BaseCommand

from metering.services.partitions import maintain_partitions


class Command(BaseCommand):
    help = "Make the monthly partitions that events may need. Safe to run at any time and side by side."

    def handle(self, *_args: Any, **_options: Any) -> None:
        for name in maintain_partitions():
            self.stdout.write(f"made {name}")
