"""Collections that take many items at once: `{"items": [...]}` instead of one thing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse

from common.errors import FieldError, Invalid, NotFound, Problem
from common.json_decoding import check_text_of
from common.problems import exception_to_problem, problem_body
from vendor_api.reading import checked, read_object
from vendor_api.serializers.base import Body, show_all
from vendor_api.serializers.bulk import MAX_ITEMS
from vendor_api.views.base import VendorView


@dataclass(frozen=True, slots=True)
class Items:
    """What was sent, in order: fields that hold, or what is wrong with them."""

    entries: Sequence[dict[str, Any] | Problem]


class BulkView(VendorView):
    """A collection whose POST takes one thing, or up to 1,000 as `items`; then `self.body` is `Items`."""

    def read(self, request: HttpRequest, body: type[Body], /) -> Callable[[], Any]:
        """As of one thing; items are checked one by one, and what is wrong with one is its own."""
        sent = read_object(request, body, apart=None if self.operation.bulk is None else "items")
        if self.operation.bulk is None or "items" not in sent:
            return lambda: checked(body, sent, changes=self.operation.changes)
        return lambda: _read_items(body, sent)

    def make_all(
        self, items: Items, make: Callable[[Sequence[dict[str, Any]]], Sequence[Any | Problem]], **beside: Any
    ) -> HttpResponse:
        """Answer 200 with what became of each; `make` gets those that hold, and gives a result or problem for each.

        `beside` is what the shape's context holds.
        """
        sound = [entry for entry in items.entries if not isinstance(entry, Problem)]
        outcomes = iter(make(sound))
        results = [entry if isinstance(entry, Problem) else next(outcomes) for entry in items.entries]
        made = [each for each in results if not isinstance(each, Problem)]
        shown = iter(show_all(self.operation.shape, made, at=self.now(), **beside))
        request_id = self.caller.actor.request_id
        data = [
            _refused(each, request_id) if isinstance(each, Problem) else {"status": 201, **next(shown)}
            for each in results
        ]
        failed = sum(isinstance(each, Problem) for each in results)
        counts = {"succeeded": len(results) - failed, "failed": failed}
        content = msgspec.json.encode({"data": data, "counts": counts})
        return HttpResponse(content, status=200, content_type="application/json")


def _read_items(body: type[Body], sent: dict[str, Any]) -> Items:
    errors = [
        FieldError(field=name[:100], code="unknown_field", detail="Beside items nothing else is known.")
        for name in sent
        if name != "items"
    ]
    if errors:
        raise Invalid(errors[0]["detail"], errors=errors)
    items = sent["items"]
    if not isinstance(items, list):
        raise Invalid.field("items", "wrong_type", "Expected a list.")
    if len(items) > MAX_ITEMS:
        raise Invalid.field("items", "too_many", f"At most {MAX_ITEMS} at once.")
    return Items([_read_item(body, item) for item in items])


def _read_item(body: type[Body], item: Any) -> dict[str, Any] | Problem:
    try:
        check_text_of(item)
        return checked(body, item, changes=False)
    except Exception as exc:
        problem = exception_to_problem(exc)
        if problem is None:
            raise
        return problem


def _refused(problem: Problem, request_id: str) -> dict[str, Any]:
    # As of one thing: what never was and what others own is not told apart.
    return problem_body(NotFound() if isinstance(problem, NotFound) else problem, request_id)
