"""The search in the side bar: a pasted id leads to its page, a few letters to workspaces, customers and people."""

from typing import Any
from uuid import UUID

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from unfold.dataclasses import SearchResult

from common.ids import parse_any_id
from tenants.admin.links import PAGES, page_of
from tenants.models import Customer, Tenant, User

#: Results of each kind.
MOST = 5


def find(request: HttpRequest, term: str) -> list[SearchResult]:
    """What the operator may see of what they look for; ids of any kind, names of few kinds."""
    term = term.strip().lower()
    if (named := parse_any_id(term)) is not None:
        return _by_id(request, *named)
    return [result for model in (Tenant, Customer, User) for result in _by_name(request, model, term)]


def _by_id(request: HttpRequest, prefix: str, id: UUID) -> list[SearchResult]:
    if prefix not in PAGES:
        return []
    app_label, _, model_name = PAGES[prefix].partition("_")
    model_admin: Any = admin.site._registry[apps.get_model(app_label, model_name)]
    if not model_admin.has_view_permission(request):
        return []
    return [_result(model_admin, row, prefix) for row in model_admin.get_queryset(request).filter(pk=id)]


def _by_name(request: HttpRequest, model: Any, term: str) -> list[SearchResult]:
    model_admin: Any = admin.site._registry[model]
    if len(term) < 2 or not model_admin.has_view_permission(request):
        return []
    rows, _ = model_admin.get_search_results(request, model_admin.get_queryset(request), term)
    return [_result(model_admin, row, model.id_prefix) for row in rows[:MOST]]


def _result(model_admin: Any, row: Any, prefix: str) -> SearchResult:
    kind = str(model_admin.opts.verbose_name).capitalize()
    return SearchResult(title=str(row), description=kind, link=page_of(prefix, row.pk) or "", icon="tag")
