"""Customers, as sent and as answered."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from common.ids import Prefix
from tenants.domain.enums import CustomerStatus
from vendor_api.serializers.base import Body
from vendor_api.serializers.common import MetadataField, RateLimitBody, RateLimitShape, ResourceShape, capped_list
from vendor_api.serializers.fields import EmailField, IdField, TextField


class CustomerBody(Body):
    """A customer of the vendor, under the vendor's own name for it."""

    external_id = TextField(max_length=200)
    name = TextField(max_length=200, required=False, allow_blank=True)
    email = EmailField(required=False, allow_blank=True)
    rate_limits = capped_list(RateLimitBody)
    metadata = MetadataField(required=False)


class CustomerShape(ResourceShape):
    """A customer."""

    id = IdField(Prefix.CUSTOMER)
    external_id = serializers.CharField()
    name = serializers.CharField()
    email = serializers.CharField()
    status = serializers.ChoiceField(choices=[status.value for status in CustomerStatus])
    rate_limits = RateLimitShape(many=True)
    metadata = MetadataField()


CUSTOMER_EXAMPLE: dict[str, Any] = {"external_id": "acme", "name": "Acme", "metadata": {"team": "search"}}
