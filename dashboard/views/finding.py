"""The thing that a path names."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Model, QuerySet
from django.http import Http404

from common.ids import Prefix, decode_id

M = TypeVar("M", bound=Model)


def find(queryset: QuerySet[M, M], prefix: Prefix, public_id: str) -> M:
    """The row of this public id among the workspace's; malformed, foreign and absent ids are all not found."""
    try:
        found = queryset.filter(pk=decode_id(prefix, public_id)).first()
    except ValueError:
        found = None
    if found is None:
        raise Http404
    return found
