"""Bodies of many things at once, and what became of each."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from vendor_api.serializers.base import Body, Shape

MAX_ITEMS: Final = 1000


class CountsShape(Shape):
    """How many were made and how many refused."""

    succeeded = serializers.IntegerField()
    failed = serializers.IntegerField()


def items_of(body: type[Body]) -> type[Body]:
    """The body that holds up to 1,000 of these."""
    name = f"{body.__name__.removesuffix('Body')}ItemsBody"
    items = serializers.ListField(child=body(), max_length=MAX_ITEMS)
    return type(name, (Body,), {"items": items, "__doc__": "Many at once: each is made or refused by itself."})


def results_of(shape: type[Shape]) -> type[Shape]:
    """The answer to many: for each item, in order, what making it alone answers, or a problem document."""

    @extend_schema_field({"type": "array", "items": {"type": "object", "properties": {"status": {"type": "integer"}}}})
    class ResultsField(serializers.Field[Any, Any, Any, Any]):
        def to_representation(self, value: Any) -> Any:
            return value

    detail = f"`status` 201 and what is in {shape.__name__}, or a problem document with its `status`."
    fields = {
        "data": ResultsField(help_text=detail),
        "counts": CountsShape(),
        "__doc__": "What became of each item, in their order.",
    }
    return type(f"{shape.__name__.removesuffix('Shape')}ResultsShape", (Shape,), fields)
