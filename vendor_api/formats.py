"""In which form an answer is wanted: said by `format`, or else by `Accept`."""

from __future__ import annotations

from typing import Final

from django.http import HttpRequest

NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"
HTML: Final = "text/html"

_MEDIA_TYPES: Final = {"csv": CSV, "ndjson": NDJSON, "html": HTML}


def format_of(request: HttpRequest, said: str | None, *, offered: tuple[str, ...]) -> str:
    """What was `said`, or the first of those `offered` (`csv`, `ndjson`, `html`) that `Accept` names; else `json`.

    A caller who takes JSON as well gets JSON.
    """
    if said:
        return said
    accepted = [part.partition(";")[0].strip().lower() for part in request.META.get("HTTP_ACCEPT", "").split(",")]
    if "application/json" in accepted:
        return "json"
    return next((name for name in offered if _MEDIA_TYPES[name] in accepted), "json")
