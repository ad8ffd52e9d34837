"""`manage.py rotate_pepper`: change what keys are hashed with, without a key that stops working."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from common.clock import real_clock
from licenses.selectors.peppers import living_keys_by_pepper
from licensing_site import peppers
from licensing_site.state import StackState

VARIABLE = "PERMETER_KEY_PEPPERS"


class Command(BaseCommand):
    help = (
        "The next step of a change of pepper: first a new one is made known, then it becomes the current one. "
        "Restart after each; keys are hashed anew as they are used. --report only tells where it stands."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--report", action="store_true", help="tell how many living keys need each pepper")
        what.add_argument("--retire", metavar="ID", help="take a pepper out; refused while living keys need it")
        parser.add_argument("--force", action="store_true", help="retire it all the same: keys that need it die")

    def handle(self, *, report: bool, retire: str | None, force: bool, **_options: Any) -> None:
        configured: dict[str, str] = dict(settings.PERMETER_KEY_PEPPERS)
        needed = living_keys_by_pepper(real_clock().now())
        self._report(configured, needed)
        if report:
            return
        if retire is not None:
            self._check(retire, configured, needed, force=force)
            self._put(peppers.without(configured, retire), f"Without pepper {retire}.")
        elif (next_one := peppers.waiting(configured)) is not None:
            self._put(
                peppers.with_promoted(configured, next_one),
                f"Pepper {next_one} becomes the current one: new keys take it at once, others at their next use. "
                f"Then look with --report, and take the old one out with --retire.",
            )
        else:
            self._put(
                peppers.with_new(configured),
                "A new pepper, which nothing is hashed with yet. When every process knows it, run this once more.",
            )

    def _report(self, configured: Mapping[str, str], needed: Mapping[str, Mapping[str, int]]) -> None:
        current = next(iter(configured))
        for pepper_id in dict.fromkeys([*configured, *needed]):
            counts = needed.get(pepper_id, {})
            role = (
                "current"
                if pepper_id == current
                else "unknown: its keys are dead"
                if pepper_id not in configured
                else "waiting"
                if pepper_id == peppers.waiting(configured)
                else "old"
            )
            told = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number) or "no living keys"
            self.stdout.write(f"pepper {pepper_id} ({role}): {told}")

    def _check(
        self, retire: str, configured: Mapping[str, str], needed: Mapping[str, Mapping[str, int]], *, force: bool
    ) -> None:
        if retire not in configured:
            raise CommandError(f"There is no pepper {retire!r}; there are {', '.join(configured)}.")
        if retire == next(iter(configured)):
            raise CommandError(f"Pepper {retire} is the current one. Let another take its place first.")
        living = sum(needed.get(retire, {}).values())
        if living and not force:
            raise CommandError(
                f"{living} living keys need pepper {retire}: they are hashed anew when they are used. Wait for them, "
                f"replace or revoke them, or let them die with --force."
            )

    def _put(self, wanted: Mapping[str, str], what: str) -> None:
        """Write it where the embedded stack keeps its secrets; what comes from elsewhere is for the operator to set."""
        text = peppers.render(wanted)
        self.stdout.write(what)
        file = os.environ.get(f"{VARIABLE}_FILE")
        state = StackState(Path(settings.VAR_DIR))
        if file:
            self.stdout.write(f"Write into {file}, and restart:\n{text}")
        elif os.environ.get(VARIABLE) or not state.secrets_file.exists():
            self.stdout.write(f"Set, and restart:\n{VARIABLE}={text}")
        else:
            if state.runs_on_older_secrets():
                raise CommandError("Restart the stack first: it does not know of the last step yet. Nothing was done.")
            state.put_secret("key_peppers", text)
            self.stdout.write(f"Written into {state.secrets_file}. Restart the stack.")
