"""How requests name things: by id or by code."""

from typing import TypeVar
from uuid import UUID

from django.db import models

from common.ids import Prefix, parse_any_id
from common.text import TextError, check_text
from tenants.models import TenantQuerySet

M = TypeVar("M", bound=models.Model)


def find(queryset: TenantQuerySet[M], reference: object, *, prefix: Prefix, code_field: str | None = None) -> M | None:
    """The row that `reference` (a row, its UUID, its public id or its code) names within the queryset, else None.

    A text is an id only if the whole of it parses as a TypeID; whoever has no code has no `code_field`.
    """
    if isinstance(reference, models.Model):
        return queryset.filter(pk=reference.pk).first() if isinstance(reference, queryset.model) else None
    if isinstance(reference, UUID):
        return queryset.filter(pk=reference).first()
    if not isinstance(reference, str):
        return None
    if (parsed := parse_any_id(reference)) is not None:
        return queryset.filter(pk=parsed[1]).first() if parsed[0] == prefix else None
    if code_field is None or not _storable(reference):
        return None
    return queryset.filter(**{code_field: reference}).first()


def _storable(reference: str) -> bool:
    """Whether it could be a code at all; PostgreSQL refuses to look for some texts."""
    try:
        check_text(reference, max_length=200)
    except TextError:
        return False
    return True
