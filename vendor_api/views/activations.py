"""Activations: who holds a licence's places, and taking one back."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpResponse

from common.ids import Prefix
from licenses.selectors.activations import activations_of
from licenses.services.activations import release_activation
from tenants.domain.scopes import Scope
from vendor_api.filters.activations import ActivationFilter
from vendor_api.operations import Resource
from vendor_api.serializers.activations import ActivationShape
from vendor_api.serializers.common import ReasonBody
from vendor_api.views.base import VendorView

ACTIVATIONS = Resource(
    one="activation",
    many="activations",
    tag="Activations",
    shape=ActivationShape,
    read=Scope.ACTIVATIONS_READ,
    write=Scope.ACTIVATIONS_WRITE,
)


class ActivationsView(VendorView):
    """/activations"""

    operations: ClassVar = {"GET": ACTIVATIONS.list(ActivationFilter)}

    def get(self) -> HttpResponse:
        return self.page(activations_of(self.tenant.id))


class ActivationView(VendorView):
    """/activations/{id}"""

    operations: ClassVar = {
        "GET": ACTIVATIONS.retrieve(),
        "DELETE": ACTIVATIONS.archive(
            name="delete_activation",
            summary="Release an activation",
            description="As `release`, without a reason. It stays readable by its id.",
        ),
    }

    def get(self, id: str) -> HttpResponse:
        return self.show(self.found(id))

    def delete(self, id: str) -> HttpResponse:
        release_activation(**self.who(), activation_id=self.found(id).id)
        return self.gone()

    def found(self, id: str) -> Any:
        """The activation that the path names, or NotFound."""
        return self.find(activations_of(self.tenant.id), Prefix.ACTIVATION, id)


class ReleaseActivationView(VendorView):
    """/activations/{id}/release"""

    operations: ClassVar = {
        "POST": ACTIVATIONS.act(
            "release",
            ReasonBody,
            description="Its place is free at once; whoever held it is answered `not_activated`. Twice is as once.",
        )
    }

    def post(self, id: str) -> HttpResponse:
        found = self.find(activations_of(self.tenant.id), Prefix.ACTIVATION, id)
        return self.show(release_activation(**self.who(), activation_id=found.id, **self.body))
