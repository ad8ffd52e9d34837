"""Meters for LLM providers' tokens in one call, and their usage objects as events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import HttpResponse

from common.errors import Invalid
from metering.domain.llm_usage import UsageFormat, UsageObjectError, token_counts
from metering.services.llm_meters import create_llm_meters
from tenants.domain.scopes import Scope
from vendor_api.operations import Operation
from vendor_api.serializers.llm import (
    LLM_METERS_EXAMPLE,
    LLM_USAGE_EXAMPLE,
    LlmEventsShape,
    LlmMetersBody,
    LlmMetersShape,
    LlmUsageBody,
)
from vendor_api.views.base import VendorView


class LlmMetersView(VendorView):
    """/meters/from-template"""

    operations: ClassVar = {
        "POST": Operation(
            name="create_llm_meters",
            summary="Create meters for LLM tokens, and their cost meter",
            description="Input, output, cached, cache-write and reasoning tokens, with the dimensions model and"
            " provider, and a cost meter that prices them: `input_tokens`, `output_tokens`, `cached_input_tokens`,"
            " `cache_write_tokens`, `reasoning_tokens` and `llm_cost`. All are ordinary meters and can be changed.",
            tag="Meters",
            scope=Scope.METERS_WRITE,
            body=LlmMetersBody,
            answer=LlmMetersShape,
            status=201,
            refusals=(409,),
            example=LLM_METERS_EXAMPLE,
        )
    }

    def post(self) -> HttpResponse:
        return self.show(create_llm_meters(**self.who(), **self.body))


class LlmUsageView(VendorView):
    """/usage/from-llm"""

    operations: ClassVar = {
        "POST": Operation(
            name="convert_llm_usage",
            summary="Turn a provider's usage object into events",
            description="Writes nothing: the events are to be sent to `usage`, by you or by the agent. Each token is in"
            " one event, whichever way the provider draws the lines.",
            tag="Usage",
            scope=Scope.USAGE_READ,
            body=LlmUsageBody,
            answer=LlmEventsShape,
            example=LLM_USAGE_EXAMPLE,
        )
    }

    def post(self) -> HttpResponse:
        return self.show({"events": _events(self.body)})


def _events(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    form = UsageFormat(body["format"])
    if not isinstance(body["usage"], Mapping):
        raise Invalid.field("usage", "wrong_type", "Expected an object.")
    try:
        counts = token_counts(form, body["usage"])
    except UsageObjectError as error:
        raise Invalid.field(f"usage.{error.field}".rstrip("."), "invalid", error.detail) from None
    dimensions = {"model": body["model"], "provider": body.get("provider") or form.provider}
    return [
        {
            "id": f"{body['id']}/{meter}",
            "meter": f"{body.get('prefix', '')}{meter}",
            "quantity": str(count),
            "dimensions": dimensions,
            "occurred_at": body.get("occurred_at"),
        }
        for meter, count in counts.by_meter().items()
    ]
