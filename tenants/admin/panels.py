"""Tables under a row's fields: what belongs to it, read when the page is."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Model
from django.http import HttpRequest

from tenants.admin.columns import when
from tenants.admin.links import id_link
from tenants.models import AuditEntry, Identified

Rows = Iterable[Sequence[object]]


@dataclass(frozen=True, slots=True)
class Panel:
    """A titled table; `rows` is read only for operators with `permission`, `more` leads to the whole list."""

    title: str
    headers: Sequence[str]
    rows: Callable[[], Rows]
    permission: str
    empty: str = "Nothing yet."
    more: str = ""


def shown(request: HttpRequest, panels: Iterable[Panel]) -> list[dict[str, object]]:
    """What the template needs of the panels that this operator may see."""
    return [
        {
            "title": panel.title,
            "table": {"headers": list(panel.headers), "rows": [list(row) for row in panel.rows()]},
            "empty": panel.empty,
            "more": panel.more,
        }
        for panel in panels
        if request.user.has_perm(panel.permission)
    ]


def trail_of(row: Identified, *, tenant_id: UUID, limit: int = 10) -> Panel:
    """The last audit entries about a row."""
    entries = AuditEntry.objects.for_tenant(tenant_id).filter(target_id=row.public_id).order_by("-id")
    entries = entries.defer("salt", "personal_commitment")[:limit]

    def rows() -> Rows:
        for entry in entries:
            who = f"{entry.actor_kind} {entry.actor_name or entry.actor_id}".strip()
            yield when(entry.at), id_link(entry.id_prefix, entry.pk, entry.action), who, entry.reason or "–"

    return Panel(
        "Audit trail", ["At", "Action", "Actor", "Reason"], rows, "tenants.view_auditentry", "No change is on record."
    )


def permission_to_view(model: type[Model]) -> str:
    """Such as `licenses.view_license`."""
    return f"{model._meta.app_label}.view_{model._meta.model_name}"
