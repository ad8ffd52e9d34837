"""Fields that read strictly and write as the contract says: ids, times, quantities, texts."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.dateparse import parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common.ids import Prefix, encode_id, parse_any_id
from common.quantities import QuantityError, format_quantity, parse_quantity
from common.text import TextError, check_text

MAX_CODE: Final = 64
MAX_INTEGER: Final = 2**31 - 1
CODE_PATTERN: Final = r"[a-z0-9][a-z0-9_.-]{0,63}"

_CODE: Final = re.compile(CODE_PATTERN)
_RFC3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_SUB_MICROSECOND: Final = re.compile(r"(\.\d{6})\d+")


class TextField(serializers.CharField):
    """A text as it was sent: never a number in disguise, without control characters."""

    def __init__(self, *, multiline: bool = False, max_length: int = 200, **options: Any) -> None:
        self.multiline = multiline
        self.longest = max_length
        options.setdefault("trim_whitespace", False)
        super().__init__(max_length=max_length, **options)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if isinstance(data, str) and data and not data.strip() and not self.allow_blank:
            self.fail("blank")
        return super().run_validation(data)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("Expected a string.", code="wrong_type")
        try:
            return check_text(data, max_length=self.longest, multiline=self.multiline)
        except TextError as error:
            raise serializers.ValidationError(error.detail, code=error.code) from None


@extend_schema_field({"type": "string", "pattern": f"^{CODE_PATTERN}$", "maxLength": MAX_CODE})
class CodeField(TextField):
    """The code of a thing: lower case letters, digits, `_`, `.` and `-`; nothing that reads as an id."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MAX_CODE, **options)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not _CODE.fullmatch(text):
            detail = "A code is 1 to 64 lower case letters, digits, '_', '.' or '-', and begins with a letter or digit."
            raise serializers.ValidationError(detail, code="invalid")
        if parse_any_id(text) is not None:
            raise serializers.ValidationError("A code must not read as an id.", code="looks_like_id")
        return text


class EmailField(TextField):
    """An e-mail address."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=254, **options)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            validate_email(text)
        except ValidationError:
            raise serializers.ValidationError("This is no e-mail address.", code="invalid") from None
        return text


class ReferenceField(TextField):
    """Another thing, named by id or by code; the service looks it up."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=options.pop("max_length", 200), **options)


@extend_schema_field(OpenApiTypes.BOOL)
class SwitchField(serializers.BooleanField):
    """True or false, and nothing that merely looks like it."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("Expected a boolean.", code="wrong_type")
        return data


class WholeNumberField(serializers.IntegerField):
    """A whole number within bounds that the database can hold."""

    def __init__(self, *, min_value: int = 0, max_value: int = MAX_INTEGER, **options: Any) -> None:
        super().__init__(min_value=min_value, max_value=max_value, **options)

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            raise serializers.ValidationError("Expected an integer.", code="wrong_type")
        return data


class ChoiceField(serializers.ChoiceField):
    """One of a few words."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or data not in self.choices:
            words = ", ".join(map(str, self.choices))
            raise serializers.ValidationError(f"Expected one of: {words}.", code="invalid_choice")
        return data


@extend_schema_field({"type": "string", "format": "decimal", "examples": ["1532", "0.000002"]})
class QuantityField(serializers.Field[Decimal, Any, str, Any]):
    """An exact decimal: a string in answers, a string or a number in requests."""

    def to_internal_value(self, data: Any) -> Decimal:
        try:
            number = parse_quantity(data)
        except QuantityError as error:
            raise serializers.ValidationError(error.detail, code=error.code) from None
        if number < 0:
            raise serializers.ValidationError("This number is not negative.", code="quantity_negative")
        return number

    def to_representation(self, value: Decimal | int | str) -> str:
        return format_quantity(value if isinstance(value, Decimal) else Decimal(value))


@extend_schema_field(OpenApiTypes.DATETIME)
class TimeField(serializers.Field[datetime, Any, str, Any]):
    """An instant: RFC 3339 with an offset in requests, in UTC with `Z` in answers.

    `any_year`: whoever reads it has bounds of its own, and names them.
    """

    def __init__(self, *, any_year: bool = False, **options: Any) -> None:
        self.any_year = any_year
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> datetime:
        if not isinstance(data, str):
            raise serializers.ValidationError("Expected a string.", code="wrong_type")
        at = parse_any_time(data) if self.any_year else parse_time(data)
        if at is None:
            raise serializers.ValidationError("A time is RFC 3339, with an offset or Z.", code="invalid_time")
        return at

    def to_representation(self, value: datetime) -> str:
        return format_time(value)


@extend_schema_field(OpenApiTypes.STR)
class IdField(serializers.Field[Any, Any, str, Any]):
    """The public id of a UUID column; for answers."""

    def __init__(self, prefix: Prefix, **options: Any) -> None:
        self.prefix = prefix
        super().__init__(read_only=True, **options)

    def to_representation(self, value: Any) -> str:
        return encode_id(self.prefix, value)


@extend_schema_field({})
class AnyField(serializers.Field[Any, Any, Any, Any]):
    """A value whose kind another field decides; whoever needs it checks it."""

    def to_internal_value(self, data: Any) -> Any:
        return data

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field({"type": "object", "additionalProperties": True})
class MapField(AnyField):
    """An object as it is; for answers."""


@extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}})
class FilterField(serializers.Field[dict[str, Any], Any, dict[str, Any], Any]):
    """Dimension values that an event must have: `{"model": "large"}`."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError("Expected an object.", code="wrong_type")
        if not all(isinstance(value, str | bool | int | float | Decimal) for value in data.values()):
            raise serializers.ValidationError("A value is a text, a number, true or false.", code="dimension_invalid")
        return data

    def to_representation(self, value: dict[str, Any]) -> dict[str, Any]:
        return value


def parse_time(text: str) -> datetime | None:
    """An RFC 3339 time in UTC, to the microsecond; None if it is none, or lies outside the years 1900 to 9899."""
    at = parse_any_time(text)
    return at if at is not None and 1900 <= at.year < 9900 else None


def parse_any_time(text: str) -> datetime | None:
    """An RFC 3339 time in UTC, to the microsecond, of any year; None if it is none."""
    if len(text) > 64 or not _RFC3339.fullmatch(text):
        return None
    try:
        at = parse_datetime(_SUB_MICROSECOND.sub(r"\1", text.upper()))
    except ValueError:
        return None
    if at is None or at.utcoffset() is None:
        return None
    try:
        return at.astimezone(UTC)
    except OverflowError:
        # Hours before the first or after the last instant that can be said.
        return at.replace(tzinfo=UTC)


def format_time(value: datetime) -> str:
    """RFC 3339 in UTC with `Z`."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
