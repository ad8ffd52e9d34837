"""What templates need beside Django's own: icons, numbers, times, statuses, form controls."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django import template
from django.contrib.messages.storage.base import Message
from django.forms import BoundField, CheckboxInput, CheckboxSelectMultiple, RadioSelect
from django.template import Context
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from dashboard import shown
from dashboard.acting import UNDO_TAG

register = template.Library()

#: Word, tone and icon of every status: never colour alone.
STATUSES = {
    "active": ("Active", "ok", "circle-check"),
    "trial": ("Trial", "ok", "circle-check"),
    "not_started": ("Not started", "info", "clock"),
    "grace": ("In grace", "warn", "clock"),
    "expired": ("Expired", "", "clock"),
    "suspended": ("Suspended", "warn", "pause"),
    "revoked": ("Revoked", "danger", "ban"),
    "parent_inactive": ("Parent stopped", "warn", "pause"),
    "open": ("Open", "info", "clock"),
    "finalized": ("Final", "ok", "circle-check"),
    "voided": ("Voided", "", "ban"),
    "credit": ("Credit", "info", "undo-2"),
}


@register.simple_tag
def icon(name: str) -> SafeString:
    """An icon of the sprite; text or a label stands beside it."""
    return format_html('<svg class="icon" aria-hidden="true" focusable="false"><use href="#i-{}"/></svg>', name)


@register.inclusion_tag("components/status.html")
def status(value: str) -> dict[str, str]:
    """A status as a badge."""
    label, tone, symbol = STATUSES.get(str(value), (str(value).replace("_", " ").capitalize(), "", "info"))
    return {"label": label, "tone": tone, "symbol": symbol}


@register.inclusion_tag("components/short_id.html")
def short_id(public_id: str) -> dict[str, str]:
    """An id, short, with a button that copies all of it."""
    prefix, _, rest = public_id.partition("_")
    return {"id": public_id, "short": f"{prefix}_…{rest[-5:]}"}


@register.simple_block_tag(end_name="endcode")
def code(content: str, name: str, label: str) -> SafeString:
    """A block of code with a copy button. What stands in the block has been escaped by the template already."""
    context = {"name": name, "label": label, "text": mark_safe(content)}  # noqa: S308 (rendered by a template)
    return render_to_string("components/code.html", context)


@register.simple_tag(takes_context=True)
def when(context: Context, at: datetime | None, nothing: str = "never") -> SafeString | str:
    """A time, relative, with the exact one in the title."""
    if at is None:
        return nothing
    workspace = context["workspace"]
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.isoformat(),
        shown.exact(at, workspace.zone),
        shown.relative(at, workspace.now),
    )


@register.simple_tag(takes_context=True)
def on_day(context: Context, at: datetime | None, nothing: str = "never") -> SafeString | str:
    """A date, with the exact time in the title."""
    if at is None:
        return nothing
    zone = context["workspace"].zone
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', at.isoformat(), shown.exact(at, zone), shown.day(at, zone)
    )


@register.simple_tag
def amount(value: Decimal, currency: str) -> str:
    """Money with its currency."""
    return shown.money(value, currency)


@register.filter
def quantity(value: Decimal) -> str:
    """A quantity in full."""
    return shown.quantity(value)


@register.filter
def about(count: int) -> str:
    """A total, rounded where nobody needs the last one."""
    return shown.about(count)


@register.filter
def counted(count: int, noun: str) -> str:
    """`3|counted:"agent"`; `"activity,activities"` gives the plural too."""
    one, _, many = noun.partition(",")
    return shown.counted(count, one, many or None)


@register.filter
def under(path: str, prefix: str) -> bool:
    """Whether a path lies under another."""
    return path.startswith(prefix)


@register.filter
def undo_path(message: Message) -> str:
    """The path that undoes what a message tells of; empty where nothing does."""
    return next(
        (tag.removeprefix(UNDO_TAG) for tag in (message.extra_tags or "").split() if tag.startswith(UNDO_TAG)), ""
    )


@register.filter
def is_checkbox(field: BoundField) -> bool:
    """Whether a field is a single tick, whose label stands after it."""
    return isinstance(field.field.widget, CheckboxInput)


@register.filter(name="input")
def control(field: BoundField) -> SafeString:
    """A form's control in our looks, tied to its help and its error."""
    attrs: dict[str, Any] = {}
    if not isinstance(field.field.widget, CheckboxInput | RadioSelect | CheckboxSelectMultiple):
        attrs["class"] = "input"
        attrs["placeholder"] = ""
    described = [f"{field.auto_id}_helptext"] if field.help_text else []
    if field.errors:
        described.append(f"{field.auto_id}_error")
        attrs["aria-invalid"] = "true"
    if described:
        attrs["aria-describedby"] = " ".join(described)
    return field.as_widget(attrs=attrs)
