"""What the operators' pages have in common.

Rows are written by services, with audit, outbox and epochs, so pages are read-only unless they say otherwise. What a
list or a page's fields show is read without any secret: binary columns (digests, salts, encrypted values) are deferred
unless a page names them as public.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar
from uuid import UUID

from django.contrib.admin import ShowFacets
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator

from common.ids import Prefix, parse_any_id
from tenants.admin import panels
from tenants.admin.columns import display
from tenants.admin.links import code, short_code


def uuid_in(text: str) -> tuple[str, UUID] | None:
    """Prefix and UUID of a pasted id, public (`lic_…`) or bare (then without a prefix)."""
    text = text.strip().lower()
    if (parsed := parse_any_id(text)) is not None:
        return parsed
    try:
        return "", UUID(text)
    except ValueError:
        return None


class OperatorAdmin(ModelAdmin):
    """A read-only page of a model.

    `with_related` is joined in every query; `related_ids` says which column a pasted id of another kind is looked up
    in; without `search_fields` of its own a page is searched by ids only.
    """

    with_related: ClassVar[tuple[str, ...]] = ()
    related_ids: ClassVar[Mapping[str, str]] = {Prefix.TENANT: "tenant_id"}
    public_binary: ClassVar[frozenset[str]] = frozenset()

    actions: Any = ()
    search_fields: ClassVar[Any] = ("pk",)
    ordering: ClassVar[Any] = ("-pk",)
    sortable_by: Any = ()
    list_per_page = 50
    list_max_show_all = 50
    list_filter_submit = True
    list_fullwidth = True
    compressed_fields = True
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    change_form_outer_after_template = "admin/operators/panels.html"

    @display(description="id")
    def typeid(self, row: Any) -> str:
        """The public id."""
        return code(self.public_id(row))

    def public_id(self, row: Any) -> str:
        """`lic_…`, for a model that has such ids."""
        return str(row.public_id)

    @display(description="id")
    def short_typeid(self, row: Any) -> str:
        """The public id as lists show it."""
        return short_code(self.public_id(row))

    def get_list_display(self, request: HttpRequest) -> Any:
        """Ids are short in lists; a row's own page has them in full."""
        return ["short_typeid" if name == "typeid" else name for name in super().get_list_display(request)]

    def panels(self, request: HttpRequest, row: Any) -> Iterable[panels.Panel]:
        """Tables under the fields of this row."""
        return ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Services make rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Services change rows."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is deleted by hand."""
        return False

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Rows with what is shown of them, and without any secret."""
        queryset = super().get_queryset(request).select_related(*self.with_related)
        return queryset.defer(*self._secrets())  # type: ignore[no-any-return]

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        """A pasted id finds its row, or the rows that refer to it; other texts are looked for in `search_fields`."""
        if (named := uuid_in(search_term)) is not None:
            return self.by_id(queryset, *named), False
        ids_only = tuple(self.search_fields) == ("pk",)
        if search_term and (ids_only or not search_term.isprintable()):
            return queryset.none(), False
        found: tuple[models.QuerySet[Any], bool] = super().get_search_results(request, queryset, search_term)
        return found

    def by_id(self, queryset: models.QuerySet[Any], prefix: str, id: UUID) -> models.QuerySet[Any]:
        """The rows that an id stands for here; none for a kind of id that has nothing to do with them."""
        if prefix in self.related_ids:
            return queryset.filter(**{self.related_ids[prefix]: id})
        if prefix in {"", getattr(self.model, "id_prefix", None)}:
            return queryset.filter(pk=id) if isinstance(self.model._meta.pk, models.UUIDField) else queryset.none()
        return queryset.none()

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """The row's page with its panels."""
        if obj is not None:
            context["panels"] = panels.shown(request, self.panels(request, obj))
        response: HttpResponse = super().render_change_form(request, context, add, change, form_url, obj)
        return response

    def _secrets(self) -> list[str]:
        """Binary columns of the row and of what is joined with it."""
        found = []
        for path in ("", *self.with_related):
            model: Any = self.model
            try:
                for name in path.split("__") if path else ():
                    model = model._meta.get_field(name).related_model
            except FieldDoesNotExist:
                continue
            prefix = f"{path}__" if path else ""
            found += [
                f"{prefix}{field.name}"
                for field in model._meta.concrete_fields
                if isinstance(field, models.BinaryField) and f"{prefix}{field.name}" not in self.public_binary
            ]
        return found


class LedgerAdmin(OperatorAdmin):
    """A read-only page of a table that grows without end: nothing is ever counted to show a page of it."""

    paginator = InfinitePaginator
