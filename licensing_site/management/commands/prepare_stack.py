"""Bring a stack's database up to date and its demo data in, in one process: a start has no second to waste."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = "Migrate the database and, unless told otherwise, set up the demo vendor. Running it again adds nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-demo", action="store_true", help="leave the demo vendor out")

    def handle(self, *_args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        call_command("maintain_partitions", verbosity=0)
        if not options["no_demo"]:
            call_command("quickstart")
