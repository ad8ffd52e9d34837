"""Products and features, as sent and as answered."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from common.ids import Prefix
from licenses.domain.enums import FeatureKind
from vendor_api.serializers.base import Body
from vendor_api.serializers.common import MetadataField, ResourceShape, text_list
from vendor_api.serializers.fields import ChoiceField, CodeField, IdField, ReferenceField, TextField, TimeField


class ProductBody(Body):
    """Something that the vendor sells."""

    code = CodeField()
    name = TextField(max_length=200)
    description = TextField(max_length=2000, multiline=True, required=False, allow_blank=True)
    metadata = MetadataField(required=False)


class ProductShape(ResourceShape):
    """A product."""

    id = IdField(Prefix.PRODUCT)
    code = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    metadata = MetadataField()
    archived_at = TimeField(allow_null=True)


class FeatureBody(Body):
    """Something that a licence can allow: a switch, a limit, or a choice of values."""

    product = ReferenceField(help_text="Its id or code.")
    code = CodeField()
    name = TextField(max_length=200)
    kind = ChoiceField(choices=[kind.value for kind in FeatureKind])
    choices = text_list(max_length=200, at_most=200, help_text="The values of a choice.")


class FeatureShape(ResourceShape):
    """A feature."""

    id = IdField(Prefix.FEATURE)
    product = serializers.CharField(source="product.code")
    code = serializers.CharField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=[kind.value for kind in FeatureKind])
    choices = serializers.ListField(child=serializers.CharField())
    archived_at = TimeField(allow_null=True)


PRODUCT_EXAMPLE: dict[str, Any] = {"code": "researcher", "name": "Researcher"}
FEATURE_EXAMPLE: dict[str, Any] = {
    "product": "researcher",
    "code": "models",
    "name": "Models",
    "kind": "choice",
    "choices": ["small", "large"],
}
