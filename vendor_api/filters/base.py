"""Query strings, read strictly: a parameter that nobody looks at is refused, as is one that comes twice or empty."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final
from uuid import UUID

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import QueryDict

from common.errors import FieldError, Invalid
from common.ids import Prefix, decode_id, parse_any_id
from common.text import TextError, check_text
from vendor_api.serializers.fields import parse_time

PAGE_PARAMETERS: Final = frozenset({"limit", "cursor"})
MAX_VALUE: Final = 512

_METADATA: Final = re.compile(r"metadata\[([^\[\]]{1,200})\]")
_DIMENSIONS: Final = re.compile(r"filter\[([^\[\]]{1,200})\]")


class IdFormField(forms.Field):
    """A public id, as its UUID."""

    def __init__(self, *, prefix: Prefix, **options: Any) -> None:
        self.prefix = prefix
        super().__init__(**options)

    def to_python(self, value: Any) -> UUID | None:
        if not value:
            return None
        try:
            return decode_id(self.prefix, value)
        except ValueError:
            raise ValidationError(f"An id here looks like {self.prefix}_…", code="invalid_id") from None


class NameFormField(forms.Field):
    """An id of the kind, as its UUID, or a code."""

    def __init__(self, *, prefix: Prefix, **options: Any) -> None:
        self.prefix = prefix
        super().__init__(**options)

    def to_python(self, value: Any) -> UUID | str | None:
        if not value:
            return None
        parsed = parse_any_id(value)
        if parsed is None:
            return str(value)
        if parsed[0] != self.prefix:
            raise ValidationError(f"An id here looks like {self.prefix}_…", code="invalid_id")
        return parsed[1]


class TimeFormField(forms.Field):
    """An RFC 3339 time."""

    def to_python(self, value: Any) -> Any:
        if not value:
            return None
        # A plus sign that was not escaped arrives as a blank.
        at = parse_time(value.replace(" ", "+") if "T" in value.upper() else value)
        if at is None:
            raise ValidationError("A time is RFC 3339, with an offset or Z.", code="invalid_time")
        return at


class SwitchFormField(forms.Field):
    """`true` or `false`."""

    def to_python(self, value: Any) -> bool | None:
        if not value:
            return None
        if value not in {"true", "false"}:
            raise ValidationError("true or false.", code="invalid_choice")
        return bool(value == "true")


class NumberFormField(forms.Field):
    """A whole number above 0."""

    def to_python(self, value: Any) -> int | None:
        if not value:
            return None
        if not (value.isascii() and value.isdecimal() and len(value) <= 9 and int(value)):
            raise ValidationError("A whole number above 0.", code="invalid")
        return int(value)


class IdFilter(django_filters.Filter):
    """Rows whose column is this id."""

    field_class = IdFormField


class NameFilter(django_filters.Filter):
    """Rows that belong to a thing named by id or by code: columns `<field_name>_id` and `code`."""

    field_class = NameFormField

    def __init__(self, *, field_name: str, prefix: Prefix, code: str = "code", **options: Any) -> None:
        self.code = code
        super().__init__(field_name=field_name, prefix=prefix, **options)

    def filter(self, qs: QuerySet[Any], value: Any) -> QuerySet[Any]:
        if value is None:
            return qs
        column = f"{self.field_name}_id" if isinstance(value, UUID) else f"{self.field_name}__{self.code}"
        return qs.filter(**{column: value})


class TimeFilter(django_filters.Filter):
    """A half-open range: `..._after` is inclusive, `..._before` is not."""

    field_class = TimeFormField


class SwitchFilter(django_filters.Filter):
    """True or false."""

    field_class = SwitchFormField


class NumberFilter(django_filters.Filter):
    """A whole number above 0."""

    field_class = NumberFormField


class WordFilter(django_filters.ChoiceFilter):
    """One of a few words."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("empty_label", None)
        words = ", ".join(str(value) for value, _ in options["choices"])
        options.setdefault("error_messages", {"invalid_choice": f"Expected one of: {words}."})
        super().__init__(*args, **options)


class TextFilter(django_filters.CharFilter):
    """Exactly this text."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, strip=False, **options)


class Query(django_filters.FilterSet):
    """What a query string may say.

    With `has_metadata`, `metadata[key]=value` too; with `has_dimensions`, `filter[name]=value` for values of a meter's
    dimensions; `is_paged`, `limit` and `cursor`.
    """

    has_metadata: ClassVar[bool] = False
    has_dimensions: ClassVar[bool] = False
    is_paged: ClassVar[bool] = False

    def __init__(self, data: QueryDict, queryset: QuerySet[Any] | None = None, *, at: datetime) -> None:
        """`at` is the workspace's time, for what depends on it."""
        self.at = at
        super().__init__(data, queryset=QuerySet() if queryset is None else queryset)
        for name, found in self.filters.items():
            found.label = name  # otherwise made from a model's field, which not every filter has
        self.wanted_metadata: dict[str, str] = {}
        self.wanted_dimensions: dict[str, str] = {}

    def check(self) -> None:
        """Raise Invalid for whatever in the query string does not hold."""
        self.wanted_metadata, errors = self._read(self.data)
        if errors:
            raise Invalid(f"{errors[0]['field']}: {errors[0]['detail']}", errors=errors, code=_code_of(errors))

    def value(self, name: str) -> Any:
        """A parameter's value, decoded; None if it was not sent."""
        return self.form.cleaned_data.get(name)

    def _known(self) -> str:
        """The names that there are, for people."""
        more = [*(["metadata[…]"] if self.has_metadata else []), *(["filter[…]"] if self.has_dimensions else [])]
        return ", ".join([*sorted({*self.filters, *(PAGE_PARAMETERS if self.is_paged else ())}), *more])

    def _read(self, data: QueryDict) -> tuple[dict[str, str], list[FieldError]]:
        errors: list[FieldError] = []
        metadata: dict[str, str] = {}
        for name in data:
            values = data.getlist(name)
            matched = _METADATA.fullmatch(name) if self.has_metadata else None
            dimension = _DIMENSIONS.fullmatch(name) if self.has_dimensions else None
            matched = matched or dimension
            known = name in self.filters or (self.is_paged and name in PAGE_PARAMETERS)
            if matched is None and not known:
                errors.append(
                    _error(name, "unknown_parameter", f"There is no such parameter here, but {self._known()}.")
                )
            elif len(values) > 1:
                errors.append(_error(name, "repeated_parameter", "This parameter is given more than once."))
            elif not values[0]:
                errors.append(_error(name, "empty", "This parameter has no value."))
            elif (fault := _text_fault(name) or _text_fault(values[0])) is not None:
                errors.append(_error(name, *fault))
            elif dimension is not None:
                self.wanted_dimensions[dimension[1]] = values[0]
            elif matched is not None:
                metadata[matched[1]] = values[0]
        if not errors and not self.form.is_valid():
            found: Mapping[str, list[ValidationError]] = self.form.errors.as_data()
            errors = [
                _error(name, error.code or "invalid", " ".join(error.messages))
                for name, faults in found.items()
                for error in faults
            ]
        return metadata, errors


class ListFilter(Query):
    """Filters of one list, narrowing a queryset."""

    is_paged = True
    created_after = TimeFilter(field_name="created_at", lookup_expr="gte", help_text="Made at this time or later.")
    created_before = TimeFilter(field_name="created_at", lookup_expr="lt", help_text="Made before this time.")

    def apply(self) -> QuerySet[Any]:
        """The rows that are asked for. Raises Invalid."""
        self.check()
        queryset: QuerySet[Any] = self.qs
        for name, value in self.wanted_metadata.items():
            queryset = queryset.filter(_metadata_is(name, value))
        return queryset


def archived_filter() -> SwitchFilter:
    """Whether to list archived things only; without it they are left out."""
    return SwitchFilter(method="filter_archived", help_text="true: archived ones only; by default they are left out.")


class ArchivableFilter(ListFilter):
    """A list of things that can be archived."""

    archived = archived_filter()

    def filter_archived(self, queryset: QuerySet[Any], _name: str, value: bool) -> QuerySet[Any]:
        return queryset.filter(archived_at__isnull=not value)

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value("archived") is None:
            queryset = queryset.filter(archived_at__isnull=True)
        filtered: QuerySet[Any] = super().filter_queryset(queryset)
        return filtered


def _metadata_is(name: str, text: str) -> Q:
    """Texts compare as texts; what reads as a number, true, false or null matches that too."""
    condition = Q(metadata__contains={name: text})
    try:
        scalar = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return condition
    if scalar is None or (isinstance(scalar, bool | int | float) and math.isfinite(scalar)):
        condition |= Q(metadata__contains={name: scalar})
    return condition


def _text_fault(value: str) -> tuple[str, str] | None:
    try:
        check_text(value, max_length=MAX_VALUE)
    except TextError as error:
        return error.code, error.detail
    return None


def _error(name: str, code: str, detail: str) -> FieldError:
    return FieldError(field=name[:100], code=code, detail=detail)


def _code_of(errors: list[FieldError]) -> str:
    return "unknown_parameter" if errors[0]["code"] == "unknown_parameter" else "invalid"
