"""Every route of the doors, found by walking the URL map: a new one is looked at without being listed anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

DOORS = {"agent/v1/": "agent", "vendor/v1/": "vendor", "access/v1/": "access"}


@dataclass(frozen=True, slots=True)
class Route:
    """`path` is below the door, with its parameters in braces: `/agents/{id}/keys/{key}/revoke`."""

    door: str
    path: str
    view: Any

    @property
    def operations(self) -> dict[str, Any]:
        found: dict[str, Any] = self.view.operations
        return found

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """(name, kind): the kind is the part of the path before it, `keys` for `{key}`."""
        parts = self.path.split("/")
        return [(part[1:-1], parts[place - 1]) for place, part in enumerate(parts) if re.fullmatch(r"\{\w+\}", part)]

    def filled(self, **texts: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: texts[found[1]], self.path)

    def __str__(self) -> str:
        return f"{self.door} {self.path}"


def all_routes() -> list[Route]:
    """All doors' routes, without the one that answers for what does not exist."""
    doors: dict[str, str] = dict(DOORS)
    found: list[Route] = []
    for pattern in get_resolver().url_patterns:
        name = doors.pop(str(pattern.pattern), None)
        if name is not None:
            assert isinstance(pattern, URLResolver)
            found.extend(_routes_below(name, "/", pattern))
    assert not doors, f"not in the URL map: {doors}"
    return found


def _routes_below(door: str, prefix: str, resolver: URLResolver) -> Iterator[Route]:
    for pattern in resolver.url_patterns:
        path = prefix + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from _routes_below(door, path, pattern)
            continue
        assert isinstance(pattern, URLPattern)
        view = getattr(pattern.callback, "view_class", None)
        assert view is not None, f"{path} has a view that is no class"
        if getattr(view, "operations", None):
            yield Route(door, path, view)
