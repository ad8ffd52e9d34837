"""What all partial changes share: which fields really changed, and which clash a broken unique key means."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import IntegrityError, models
from msgspec import UNSET

from common.errors import Conflict
from common.quantities import format_quantity

#: `{field: [before, after]}`, as audit entries hold it.
Changes = dict[str, list[Any]]


def apply_changes(instance: models.Model, wanted: Mapping[str, Any]) -> Changes:
    """Set the fields that are given (not UNSET) and differ; what changed, in JSON's own types. Saves nothing."""
    changes: Changes = {}
    for name, value in wanted.items():
        if value is UNSET:
            continue
        before = getattr(instance, name)
        if before != value:
            setattr(instance, name, value)
            changes[name] = [plain(before), plain(value)]
    return changes


def plain(value: Any) -> Any:
    """A field's value in JSON's own types."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return format_quantity(value)
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    return value


@contextmanager
def conflict_if_taken(constraint: str, code: str, detail: str) -> Iterator[None]:
    """Turn a clash with this unique constraint into a Conflict. The transaction around it cannot go on."""
    try:
        yield
    except IntegrityError as error:
        if _constraint_of(error) != constraint:
            raise
        raise Conflict(code, detail) from None


def _constraint_of(error: IntegrityError) -> str | None:
    diagnosis = getattr(error.__cause__, "diag", None)
    name: str | None = getattr(diagnosis, "constraint_name", None)
    return name
