"""Usage and overages that are put right."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from django.http import HttpResponse

from common.errors import NotFound
from common.ids import Prefix, decode_id
from metering.selectors.listing import overages_of
from metering.services.overage_corrections import rerate_overage, void_overage
from metering.services.voiding import Voided, void_usage
from tenants.domain.scopes import Scope
from vendor_api.operations import Operation
from vendor_api.serializers.base import Beside
from vendor_api.serializers.common import ReasonBody
from vendor_api.serializers.corrections import (
    REASON_EXAMPLE,
    RERATE_EXAMPLE,
    VOID_EXAMPLE,
    RerateBody,
    ReratedShape,
    VoidedUsageShape,
    VoidUsageBody,
    VoidUsageByIdBody,
)
from vendor_api.views.base import VendorView
from vendor_api.views.records import OVERAGES

_WHAT_A_VOID_DOES = (
    "Reverses an event (`evt_…`), or all events that were posted under a caller's id, in the very balances in which "
    "they counted, closed ones too; amounts that were computed from them go with them. Where the overage is final, the "
    "difference becomes an overage of status `credit`. The id stays used: a retry of the original counts nothing. "
    "Voiding twice is the same as once."
)


class _VoidView(VendorView):
    def void(self, id: str, *, license: str | None, reason: str) -> HttpResponse:
        voided = void_usage(**self.who(), id=id, license_id=_license_id(license), reason=reason)
        return self.show(_shown(voided))


class VoidUsageView(_VoidView):
    """/usage/{id}/void"""

    operations: ClassVar = {
        "POST": Operation(
            name="void_usage",
            summary="Void usage",
            description=_WHAT_A_VOID_DOES,
            tag="Usage",
            scope=Scope.USAGE_WRITE,
            body=VoidUsageBody,
            answer=VoidedUsageShape,
            refusals=(404, 409),
            example=REASON_EXAMPLE,
        )
    }

    def post(self, id: str) -> HttpResponse:
        return self.void(id, license=self.body.get("license"), reason=self.body["reason"])


class VoidUsageByIdView(_VoidView):
    """/usage/void"""

    operations: ClassVar = {
        "POST": Operation(
            name="void_usage_by_id",
            summary="Void usage by any id",
            description=f"{_WHAT_A_VOID_DOES} For ids that do not fit into a path.",
            tag="Usage",
            scope=Scope.USAGE_WRITE,
            body=VoidUsageByIdBody,
            answer=VoidedUsageShape,
            refusals=(404, 409),
            example=VOID_EXAMPLE,
        )
    }

    def post(self) -> HttpResponse:
        return self.void(self.body["id"], license=self.body.get("license"), reason=self.body["reason"])


class VoidOverageView(VendorView):
    """/overages/{id}/void"""

    operations: ClassVar = {
        "POST": OVERAGES.act(
            "void",
            ReasonBody,
            example=REASON_EXAMPLE,
            description=(
                "Waives it, open or final, with all corrections of it. What was on a statement already is given back "
                "on the customer's next. An open period's overage does not come back."
            ),
        )
    }

    def post(self, id: str) -> HttpResponse:
        record = self.find(overages_of(self.tenant.id), Prefix.OVERAGE, id)
        return self.show(void_overage(**self.who(), overage_id=record.id, reason=self.body["reason"]))


class RerateOverageView(VendorView):
    """/overages/{id}/rerate"""

    operations: ClassVar = {
        "POST": OVERAGES.act(
            "rerate",
            RerateBody,
            answer=ReratedShape,
            example=RERATE_EXAMPLE,
            description=(
                "Rates a final overage anew at the price that its plan has by now for that period: correct the plan's "
                "price first. The difference becomes an overage of status `credit`, whose amount is below 0 where it "
                "gives back. An open overage follows its price by itself. With `dry_run` nothing is written, and the "
                "id of `correction` names nothing."
            ),
        )
    }

    def post(self, id: str) -> HttpResponse:
        record = self.find(overages_of(self.tenant.id), Prefix.OVERAGE, id)
        return self.show(rerate_overage(**self.who(), overage_id=record.id, **self.body))


def _license_id(text: str | None) -> UUID | None:
    """Raises NotFound for what is no licence's id."""
    try:
        return None if text is None else decode_id(Prefix.LICENSE, text)
    except ValueError:
        raise NotFound from None


def _shown(voided: Voided) -> Beside:
    return Beside(voided, status="voided")
