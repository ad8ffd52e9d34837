"""`manage.py write_openapi`: the OpenAPI 3.1 documents of both doors, written from the code or compared with it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.urls import include, path
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.settings import patched_settings
from drf_spectacular.validation import validate_schema

from licensing_site.openapi_doors import DOORS, Door
from licensing_site.reference import OPENAPI_DIR


class Command(BaseCommand):
    """Writes `openapi/agent.json` and `openapi/vendor.json`; with `--check` only says whether they are up to date."""

    help = "Write the OpenAPI documents of both doors from the code; --check compares and writes nothing."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("doors", nargs="*", metavar="door", help=f"Of {', '.join(DOORS)}; all unless named.")
        parser.add_argument("--check", action="store_true", help="Compare with the files, write nothing.")

    def handle(self, *_args: Any, **options: Any) -> None:
        unknown = set(options["doors"]) - set(DOORS)
        if unknown:
            raise CommandError(f"There is no door {', '.join(sorted(unknown))}; there are {', '.join(DOORS)}.")
        stale = []
        for name in options["doors"] or DOORS:
            target = OPENAPI_DIR / f"{name}.json"
            text = render(DOORS[name])
            if options["check"]:
                if not target.is_file() or target.read_text(encoding="utf-8") != text:
                    stale.append(name)
            else:
                write(target, text)
                self.stdout.write(f"openapi/{target.name}")
        if stale:
            raise CommandError(f"Out of date: {', '.join(stale)}. Run `manage.py write_openapi` and commit the result.")


def render(door: Door) -> str:
    """The document of a door as text; the same code gives the same bytes. Raises CommandError if it is not valid."""
    with patched_settings(door.settings()):
        GENERATOR_STATS.reset()
        urls = {door.prefix: door.urlconf, **door.beside}
        generator = SchemaGenerator(patterns=[path(prefix, include(urlconf)) for prefix, urlconf in urls.items()])
        document = generator.get_schema(request=None, public=True)
        if GENERATOR_STATS:
            GENERATOR_STATS.emit_summary()
            raise CommandError(f"The document of {door.prefix} is not complete.")
    # A round trip turns lazy texts and enum members into what is written.
    document = json.loads(json.dumps(document, default=str))
    validate_schema(document)
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=False) + "\n"


def write(target: Path, text: str) -> None:
    """Put the document in its place."""
    target.parent.mkdir(exist_ok=True)
    target.write_text(text, encoding="utf-8")
