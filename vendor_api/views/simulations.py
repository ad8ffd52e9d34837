"""Prices that are only proposed."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpResponse

from tenants.domain.scopes import Scope
from vendor_api.operations import Operation
from vendor_api.price_simulations import simulation_asked_for
from vendor_api.serializers.simulations import SIMULATE_EXAMPLE, SimulatePriceBody, SimulationShape
from vendor_api.views.base import VendorView


class SimulatePriceView(VendorView):
    """/prices/simulate"""

    operations: ClassVar = {
        "POST": Operation(
            name="simulate_price",
            summary="Try a price over real usage",
            description=(
                "Rates what the licenses of a plan used last month, or in another one, with a price that is only "
                "proposed, beside what the present one gives. Nothing is written. `totals` are of this page's lines."
            ),
            tag="Overages",
            scope=Scope.PLANS_WRITE,
            body=SimulatePriceBody,
            answer=SimulationShape,
            refusals=(404,),
            example=SIMULATE_EXAMPLE,
        )
    }

    def post(self) -> HttpResponse:
        return self.show(simulation_asked_for(self.tenant, self.body, at=self.now()))
