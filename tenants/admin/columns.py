"""How values look on the operators' pages."""

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from unfold.decorators import display as unfold_display

from common.clock import real_clock
from common.ids import encode_id
from common.quantities import format_quantity
from tenants.admin.links import SUBJECTS, code, id_link, short_code, subject_link

#: One colour for one meaning, everywhere; the word itself is always there as well.
STATUS_COLOURS = {
    "active": "success",
    "ok": "success",
    "delivered": "success",
    "succeeded": "success",
    "settled": "success",
    "finalized": "success",
    "live": "info",
    "open": "info",
    "running": "info",
    "pending": "info",
    "test": "warning",
    "suspended": "warning",
    "near_limit": "warning",
    "overage": "warning",
    "expired": "warning",
    "retired": "warning",
    "revoked": "danger",
    "failed": "danger",
    "exceeded": "danger",
    "compromised": "danger",
}

Column = Callable[[Any, Any], Any]
F = TypeVar("F", bound=Callable[..., Any])


def display(*, description: str, label: dict[str, str] | None = None) -> Callable[[F], F]:
    """Unfold's decorator of columns, with types."""

    def decorate(function: F) -> F:
        decorated: F = unfold_display(function, description=description, label=label)
        return decorated

    return decorate


def status(field: str = "status", description: str = "status") -> Column:
    """A word with its colour."""

    @display(description=description, label=STATUS_COLOURS)
    def column(_admin: Any, row: Any) -> str:
        return str(getattr(row, field))

    return column


def id_of(field: str, prefix: str, description: str) -> Column:
    """A bare id that the row holds, as a link to what it names."""

    @display(description=description)
    def column(_admin: Any, row: Any) -> SafeString:
        return id_link(prefix, getattr(row, field))

    return column


def short_id_of(field: str, prefix: str, description: str) -> Column:
    """As `id_of`, short: for lists."""

    @display(description=description)
    def column(_admin: Any, row: Any) -> SafeString:
        id = getattr(row, field)
        return id_link(prefix, id, None if id is None else short_code(encode_id(prefix, id)))

    return column


@display(description="subject")
def short_subject(_admin: Any, row: Any) -> SafeString:
    """As `subject`, short: for lists."""
    prefix = SUBJECTS.get(row.scope)
    if prefix is None:
        return subject_link(row.scope, row.subject_id)
    return id_link(prefix, row.subject_id, short_code(encode_id(prefix, row.subject_id)))


@display(description="subject")
def subject(_admin: Any, row: Any) -> SafeString:
    """Whom a row with `scope` and `subject_id` is about."""
    return subject_link(row.scope, row.subject_id)


def quantity(field: str, description: str | None = None) -> Column:
    """A number without the zeros that the database keeps behind it."""

    @display(description=description or field.replace("_", " "))
    def column(_admin: Any, row: Any) -> SafeString:
        return number(getattr(row, field))

    return column


def json_block(field: str, description: str | None = None) -> Column:
    """JSON in lines."""

    @display(description=description or field.replace("_", " "))
    def column(_admin: Any, row: Any) -> SafeString:
        value = getattr(row, field)
        if value in (None, {}, []):
            return code("–")
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=str)
        return format_html('<pre class="pm-code pm-block">{}</pre>', text)

    return column


def number(value: Decimal | None) -> SafeString:
    """A quantity or an amount; figures of one width."""
    return format_html('<span class="pm-number">{}</span>', "–" if value is None else format_quantity(value))


def when(value: datetime | None) -> str:
    """A moment, to the second."""
    return "–" if value is None else date_format(localtime(value), "Y-m-d H:i:s")


def hexadecimal(field: str, description: str) -> Column:
    """Bytes that are no secret, such as a link of the audit chain."""

    @display(description=description)
    def column(_admin: Any, row: Any) -> SafeString:
        return code(bytes(getattr(row, field)).hex())

    return column


def real_now() -> datetime:
    """Real time, by which keys and log-ins live."""
    return real_clock().now()
