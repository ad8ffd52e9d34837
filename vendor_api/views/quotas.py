"""Meters and quotas."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpResponse

from common.ids import Prefix
from metering.selectors.listing import meters_of, quotas_of
from metering.selectors.meters import get_meter
from metering.services import meters, quotas
from tenants.domain.scopes import Scope
from vendor_api.applying import applying
from vendor_api.filters.records import MeterFilter, QuotaFilter
from vendor_api.operations import Resource
from vendor_api.serializers.base import show_all
from vendor_api.serializers.quotas import (
    METER_EXAMPLE,
    QUOTA_EXAMPLE,
    ListedQuotaShape,
    MeterBody,
    MeterShape,
    QuotaBody,
    QuotaShape,
)
from vendor_api.views.base import VendorView

METERS = Resource(
    one="meter",
    many="meters",
    tag="Meters",
    shape=MeterShape,
    read=Scope.METERS_READ,
    write=Scope.METERS_WRITE,
    example=METER_EXAMPLE,
)
QUOTAS = Resource(
    one="quota",
    many="quotas",
    tag="Quotas",
    shape=QuotaShape,
    read=Scope.QUOTAS_READ,
    write=Scope.QUOTAS_WRITE,
    example=QUOTA_EXAMPLE,
)


class MetersView(VendorView):
    """/meters"""

    operations: ClassVar = {"GET": METERS.list(MeterFilter), "POST": METERS.create(MeterBody)}

    def get(self) -> HttpResponse:
        return self.page(meters_of(self.tenant.id))

    def post(self) -> HttpResponse:
        return self.show(meters.create_meter(**self.who(), **self.body))


class MeterView(VendorView):
    """/meters/{id}, by id or code"""

    operations: ClassVar = {
        "GET": METERS.retrieve(),
        "PATCH": METERS.change(
            MeterBody, description="The code stays; dimensions and aggregation are kept once something was recorded."
        ),
        "DELETE": METERS.archive(description="It is unknown to new events; what was recorded stays."),
    }

    def get(self, id: str) -> HttpResponse:
        return self.show(get_meter(self.tenant, id))

    def patch(self, id: str) -> HttpResponse:
        meter = get_meter(self.tenant, id)
        return self.show(meters.update_meter(**self.who(), meter_id=meter.id, **self.body))

    def delete(self, id: str) -> HttpResponse:
        meters.archive_meter(**self.who(), meter_id=get_meter(self.tenant, id).id)
        return self.gone()


class QuotasView(VendorView):
    """/quotas"""

    operations: ClassVar = {
        "GET": QUOTAS.list(
            QuotaFilter,
            listed=ListedQuotaShape,
            description="With `license`, `agent` or `customer`: every quota that applies there, inherited ones too, on "
            "one page, in the order agent, parents, licence, customer, tenant, then by meter, with how it stands.",
        ),
        "POST": QUOTAS.create(
            QuotaBody, description="It counts what its period has already seen. Quotas of plans are set with the plan."
        ),
    }

    def get(self) -> HttpResponse:
        queryset = quotas_of(self.tenant.id)
        asked = QuotaFilter(self.query, queryset, at=self.now())
        matching = asked.apply()
        found = applying(self.tenant, asked, matching, at=self.now())
        if found is None:
            return self.page(queryset)
        return self.answer({"data": show_all(ListedQuotaShape, found, at=self.now()), "next_cursor": None})

    def post(self) -> HttpResponse:
        return self.show(quotas.create_quota(**self.who(), **self.body))


class QuotaView(VendorView):
    """/quotas/{id}"""

    operations: ClassVar = {
        "GET": QUOTAS.retrieve(),
        "PATCH": QUOTAS.change(
            QuotaBody, description="Limit, ceiling, mode and thresholds; what it counts stays as it is."
        ),
        "DELETE": QUOTAS.archive(description="It neither blocks nor bills from now on."),
    }

    def get(self, id: str) -> HttpResponse:
        return self.show(self._quota(id))

    def patch(self, id: str) -> HttpResponse:
        return self.show(quotas.update_quota(**self.who(), quota_id=self._quota(id).id, **self.body))

    def delete(self, id: str) -> HttpResponse:
        quotas.archive_quota(**self.who(), quota_id=self._quota(id).id)
        return self.gone()

    def _quota(self, id: str) -> Any:
        return self.find(quotas_of(self.tenant.id), Prefix.QUOTA, id)
