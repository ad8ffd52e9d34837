"""Serializers that refuse what they do not know, and answers that leave nothing out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

MAX_UNKNOWN: Final = 20
MAX_NAME: Final = 100


class Body(serializers.Serializer[Any]):
    """What a request may say. Undeclared fields are refused by name, so that no slip of the pen goes unseen.

    With `changes=True` only what was sent is looked at, which is what PATCH means; parts nested inside are
    whole ones all the same.
    """

    def __init__(self, *args: Any, changes: bool = False, **options: Any) -> None:
        self.changes = changes
        super().__init__(*args, **options)

    @property
    def _writable_fields(self) -> list[serializers.Field[Any, Any, Any, Any]]:
        sent = self.initial_data if self.changes else None
        return [field for name, field in self.fields.items() if not field.read_only and (sent is None or name in sent)]

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise ValidationError({"non_field_errors": [ErrorDetail("Expected an object.", code="wrong_type")]})
        unknown = [name for name in data if name not in self.fields or self.fields[name].read_only]
        errors: dict[str, Any] = {
            name[:MAX_NAME]: [ErrorDetail("This field is not known here.", code="unknown_field")]
            for name in unknown[:MAX_UNKNOWN]
        }
        try:
            value = super().to_internal_value(data)
        except ValidationError as error:
            if isinstance(error.detail, dict):
                errors.update(error.detail)
        if errors:
            raise ValidationError(errors)
        return value


class Shape(serializers.Serializer[Any]):
    """What an answer says: all of its fields, null where there is nothing."""

    def to_representation(self, instance: Any) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for name, field in self.fields.items():
            value = field.get_attribute(instance)
            shown[name] = None if value is None else field.to_representation(value)
        return shown


class Beside:
    """An object with something beside its own attributes, for shapes that show what follows from elsewhere."""

    def __init__(self, original: Any, **more: Any) -> None:
        self.__dict__.update(more)
        self._original = original

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def show(shape: type[Shape], instance: Any, *, at: datetime) -> dict[str, Any]:
    """An object in its public shape, as it stands at `at`."""
    return shape(context={"at": at}).to_representation(instance)


def show_all(shape: type[Shape], instances: Iterable[Any], *, at: datetime, **beside: Any) -> list[dict[str, Any]]:
    """Many objects in their public shape; the fields are set up once. `beside` is what the shape's context holds."""
    serializer = shape(context={"at": at, **beside})
    return [serializer.to_representation(instance) for instance in instances]
