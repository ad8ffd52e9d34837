"""Products, features and plans."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpResponse

from licenses.models import Plan
from licenses.selectors.listing import features_of, plans_of, products_of
from licenses.selectors.lookup import get_feature, get_plan, get_product
from licenses.services import catalogue
from metering.selectors.listing import with_terms
from metering.services import plan_terms
from metering.services.previewing import preview_plan
from tenants.domain.scopes import Scope
from tenants.models import TenantQuerySet
from vendor_api.filters.resources import FeatureFilter, PlanFilter, ProductFilter
from vendor_api.operations import Resource
from vendor_api.serializers.catalogue import (
    FEATURE_EXAMPLE,
    PRODUCT_EXAMPLE,
    FeatureBody,
    FeatureShape,
    ProductBody,
    ProductShape,
)
from vendor_api.serializers.plans import PLAN_EXAMPLE, PlanBody, PlanShape
from vendor_api.serializers.previews import PreviewShape
from vendor_api.views.base import VendorView
from vendor_api.views.previews import DRY_RUN, EditView, PagedEditQuery

PRODUCTS = Resource(
    one="product",
    many="products",
    tag="Products",
    shape=ProductShape,
    read=Scope.PRODUCTS_READ,
    write=Scope.PRODUCTS_WRITE,
    example=PRODUCT_EXAMPLE,
)
FEATURES = Resource(
    one="feature",
    many="features",
    tag="Features",
    shape=FeatureShape,
    read=Scope.FEATURES_READ,
    write=Scope.FEATURES_WRITE,
    example=FEATURE_EXAMPLE,
)
PLANS = Resource(
    one="plan",
    many="plans",
    tag="Plans",
    shape=PlanShape,
    read=Scope.PLANS_READ,
    write=Scope.PLANS_WRITE,
    example=PLAN_EXAMPLE,
)


class ProductsView(VendorView):
    """/products"""

    operations: ClassVar = {"GET": PRODUCTS.list(ProductFilter), "POST": PRODUCTS.create(ProductBody)}

    def get(self) -> HttpResponse:
        return self.page(products_of(self.tenant.id))

    def post(self) -> HttpResponse:
        return self.show(catalogue.create_product(**self.who(), **self.body))


class ProductView(VendorView):
    """/products/{id}, by id or code"""

    operations: ClassVar = {
        "GET": PRODUCTS.retrieve(),
        "PATCH": PRODUCTS.change(ProductBody),
        "DELETE": PRODUCTS.archive(description="Nothing new is made of it; plans and licences that exist go on."),
    }

    def get(self, id: str) -> HttpResponse:
        return self.show(get_product(self.tenant, id))

    def patch(self, id: str) -> HttpResponse:
        product = get_product(self.tenant, id)
        return self.show(catalogue.update_product(**self.who(), product_id=product.id, **self.body))

    def delete(self, id: str) -> HttpResponse:
        catalogue.archive_product(**self.who(), product_id=get_product(self.tenant, id).id)
        return self.gone()


class FeaturesView(VendorView):
    """/features"""

    operations: ClassVar = {"GET": FEATURES.list(FeatureFilter), "POST": FEATURES.create(FeatureBody)}

    def get(self) -> HttpResponse:
        return self.page(features_of(self.tenant.id))

    def post(self) -> HttpResponse:
        return self.show(catalogue.create_feature(**self.who(), **self.body))


class FeatureView(VendorView):
    """/features/{id}"""

    operations: ClassVar = {
        "GET": FEATURES.retrieve(),
        "PATCH": FEATURES.change(FeatureBody, description="Product, code and kind stay as they are."),
        "DELETE": FEATURES.archive(description="It cannot be granted any more; grants that exist go on."),
    }

    def get(self, id: str) -> HttpResponse:
        return self.show(get_feature(self.tenant, id))

    def patch(self, id: str) -> HttpResponse:
        feature = get_feature(self.tenant, id)
        return self.show(catalogue.update_feature(**self.who(), feature_id=feature.id, **self.body))

    def delete(self, id: str) -> HttpResponse:
        catalogue.archive_feature(**self.who(), feature_id=get_feature(self.tenant, id).id)
        return self.gone()


class PlanRoute(VendorView):
    """What both routes of plans share."""

    def plans(self) -> TenantQuerySet[Plan]:
        """The workspace's plans with all that is shown of them."""
        return with_terms(plans_of(self.tenant.id), self.tenant.id)

    def show_plan(self, plan: Plan) -> HttpResponse:
        """A plan as it is now, with its terms in force."""
        return self.show(self.plans().get_or_raise(plan.id))


class PlansView(PlanRoute):
    """/plans"""

    operations: ClassVar = {"GET": PLANS.list(PlanFilter), "POST": PLANS.create(PlanBody)}

    def get(self) -> HttpResponse:
        return self.page(self.plans())

    def post(self) -> HttpResponse:
        return self.show_plan(plan_terms.create_plan_with_terms(**self.who(), **self.body))


class PlanView(EditView, PlanRoute):
    """/plans/{id}, by id or code"""

    operations: ClassVar = {
        "GET": PLANS.retrieve(),
        "PATCH": PLANS.change(
            PlanBody,
            description="`grants`, `quotas` and `prices` replace the whole list. A quota that counts the same as "
            "before keeps its id and what it has counted. Licences with this plan feel it at once.\n\n" + DRY_RUN,
            query=PagedEditQuery,
            otherwise=PreviewShape,
        ),
        "DELETE": PLANS.archive(description="No new licence can carry it; those that do go on."),
    }

    def get(self, id: str) -> HttpResponse:
        return self.show_plan(get_plan(self.tenant, id))

    def patch(self, id: str) -> HttpResponse:
        asked, plan = self.edit_query(), get_plan(self.tenant, id)
        if asked.value("dry_run"):
            preview = preview_plan(**self.who(), plan_id=plan.id, **asked.page(), **self.body)
            return self.show(preview, PreviewShape)
        return self.show_plan(plan_terms.update_plan_with_terms(**self.who(), plan_id=plan.id, **self.body))

    def delete(self, id: str) -> HttpResponse:
        plan_terms.archive_plan_with_terms(**self.who(), plan_id=get_plan(self.tenant, id).id)
        return self.gone()
