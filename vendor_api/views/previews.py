"""Edits that can be asked about before they are made: `?dry_run=true`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from common.http_json import read_body
from common.pagination import parse_limit
from vendor_api.filters.base import Query, SwitchFilter, TextFilter
from vendor_api.serializers.base import Body
from vendor_api.views.base import VendorView

DRY_RUN = (
    "With `dry_run=true` nothing is written: the answer says which licences would lose, gain or change what, newest "
    "first and page by page, and refuses what the change would be refused for."
)


class EditQuery(Query):
    """Whether to make the change, or only to tell what it would do."""

    dry_run = SwitchFilter(help_text="true: tell what would change, and write nothing.")


class PagedEditQuery(EditQuery):
    """The same, of what may concern many licences."""

    limit = TextFilter(help_text="How many licences at most, 1 to 200; with `dry_run`.")
    cursor = TextFilter(help_text="`next_cursor` of the page before; with `dry_run`.")

    def page(self) -> dict[str, Any]:
        """The page that is asked for. Raises Invalid."""
        return {"limit": parse_limit(self.value("limit")), "cursor": self.value("cursor")}


class EditView(VendorView):
    """A route whose PATCH can be tried."""

    def edit_query(self) -> Any:
        """The query string of a PATCH, checked."""
        asked = (self.operation.query or EditQuery)(self.query, at=self.now())
        asked.check()
        return asked

    def read(self, request: HttpRequest, body: type[Body], /) -> Callable[[], Any]:
        """A trial without a body tries to change nothing."""
        if self.operation.changes and self.query.get("dry_run") == "true" and not read_body(request).strip():
            return dict
        return super().read(request, body)
