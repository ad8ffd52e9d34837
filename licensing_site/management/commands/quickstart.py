"""`manage.py quickstart`: the demo vendor with a month of usage, and `$VAR_DIR/quickstart.json`."""

import json
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from licensing_site.quickstart.setup import set_up


class Command(BaseCommand):
    help = "Set up the demo vendor and write quickstart.json; what is there already stays as it is."

    def handle(self, **_options: Any) -> None:
        path = Path(settings.VAR_DIR) / "quickstart.json"
        content = set_up(_read(path), say=self.stdout.write)
        _write(path, content)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all, and readable by its owner only: it holds keys and passwords."""
    draft = path.with_suffix(".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    draft.replace(path)
