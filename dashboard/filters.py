"""Filters of lists that live in the URL, so that what is seen can be shared and gone back to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, QueryDict

from common.errors import Invalid
from common.pagination import paginate

PER_PAGE = 50
MAX_SEARCH = 200

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Chip:
    """A choice of a filter: a link that keeps the other filters."""

    label: str
    path: str
    current: bool


@dataclass(frozen=True, slots=True)
class Listing(Generic[M]):
    """A page of a list: "`shown` of `total`", and the paths that lead on and back to the start."""

    rows: list[M]
    total: int
    next_path: str
    first_path: str
    filtered: bool

    @property
    def shown(self) -> int:
        """How many rows this page has."""
        return len(self.rows)


def text_of(request: HttpRequest, name: str) -> str:
    """A filter's text as it can be asked for: without what no name holds."""
    text = request.GET.get(name, "").strip()[:MAX_SEARCH]
    return "".join(character for character in text if character.isprintable())


def choice_of(request: HttpRequest, name: str, choices: Mapping[str, str]) -> str:
    """A filter's choice; what is none of them is no filter."""
    value = request.GET.get(name, "")
    return value if value in choices else ""


def chips(request: HttpRequest, name: str, choices: Mapping[str, str], *, every: str = "All") -> list[Chip]:
    """The choices of a filter as links."""
    current = choice_of(request, name, choices)
    offered = {"": every, **choices}
    return [Chip(label, _path(request, name, value), value == current) for value, label in offered.items()]


def listing(request: HttpRequest, queryset: QuerySet[M, M], *, filters: tuple[str, ...]) -> Listing[M]:
    """The page of a list that the URL's cursor names, newest first. A cursor that was never handed out is not found."""
    try:
        page = paginate(
            queryset, limit=PER_PAGE, cursor=request.GET.get("cursor"), bound_to=_path(request, "cursor", "")
        )
    except Invalid as exc:
        raise Http404 from exc
    at_start = "cursor" not in request.GET
    total = len(page.items) if at_start and page.next_cursor is None else queryset.order_by().count()
    return Listing(
        rows=page.items,
        total=total,
        next_path=_path(request, "cursor", page.next_cursor) if page.next_cursor else "",
        first_path="" if at_start else _path(request, "cursor", ""),
        filtered=any(request.GET.get(name) for name in filters),
    )


def _path(request: HttpRequest, name: str, value: str) -> str:
    query = QueryDict(mutable=True)
    query.update({key: str(each) for key, each in request.GET.items() if key not in {name, "cursor"} and each})
    if value:
        query[name] = value
    encoded = query.urlencode()
    return f"{request.path}?{encoded}" if encoded else request.path
