"""Top-ups: more of a quota, for one subject."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpResponse

from common.ids import Prefix
from metering.models import TopUp
from metering.selectors.top_ups import top_ups_of
from metering.services import top_ups
from tenants.domain.scopes import Scope
from vendor_api.filters.top_ups import TopUpFilter
from vendor_api.operations import Operation, Resource
from vendor_api.serializers.common import ReasonBody
from vendor_api.serializers.top_ups import TOP_UP_EXAMPLE, TopUpBody, TopUpShape
from vendor_api.views.base import VendorView

TOP_UPS = Resource(
    one="top-up",
    many="top-ups",
    tag="Quotas",
    shape=TopUpShape,
    read=Scope.QUOTAS_READ,
    write=Scope.QUOTAS_WRITE,
    example=TOP_UP_EXAMPLE,
)


class TopUpsView(VendorView):
    """/top-ups"""

    operations: ClassVar = {
        "GET": TOP_UPS.list(TopUpFilter),
        "POST": TOP_UPS.create(
            TopUpBody,
            refusals=(),
            description="It covers what is counted from its start until its expiry, once the quota's own allowance is "
            "used up: by priority, then soonest expiry, then age. Send an Idempotency-Key for one that was paid for.",
        ),
    }

    def get(self) -> HttpResponse:
        return self.page(top_ups_of(self.tenant.id))

    def post(self) -> HttpResponse:
        return self.show(top_ups.create_top_up(**self.who(), **self.body))


class TopUpView(VendorView):
    """/top-ups/{id}"""

    operations: ClassVar = {
        "GET": TOP_UPS.retrieve(),
        "PATCH": TOP_UPS.change(
            TopUpBody, description="Expiry, priority, reference and metadata, from now on; the rest stays as it is."
        ),
        "DELETE": TOP_UPS.archive(
            summary="Void a top-up",
            refusals=(404,),
            description="What is left of it is taken back; what it has covered stays covered.",
        ),
    }

    def get(self, id: str) -> HttpResponse:
        return self.show(self._top_up(id))

    def patch(self, id: str) -> HttpResponse:
        return self.show(top_ups.update_top_up(**self.who(), top_up_id=self._top_up(id).id, **self.body))

    def delete(self, id: str) -> HttpResponse:
        top_ups.void_top_up(**self.who(), top_up_id=self._top_up(id).id)
        return self.gone()

    def _top_up(self, id: str) -> TopUp:
        found: TopUp = self.find(top_ups_of(self.tenant.id), Prefix.TOP_UP, id)
        return found


class TopUpVoidView(VendorView):
    """/top-ups/{id}/void"""

    operations: ClassVar = {
        "POST": Operation(
            name="void_top_up",
            summary="Take back what is left of a top-up",
            tag="Quotas",
            scope=Scope.QUOTAS_WRITE,
            answer=TopUpShape,
            body=ReasonBody,
            refusals=(404,),
            description="What it has covered stays covered. Twice is the same as once.",
            example={"reason": "refunded"},
        )
    }

    def post(self, id: str) -> HttpResponse:
        found = self.find(top_ups_of(self.tenant.id), Prefix.TOP_UP, id)
        return self.show(top_ups.void_top_up(**self.who(), top_up_id=found.id, reason=self.body["reason"]))
