"""Customers."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpResponse

from licenses.selectors.lookup import get_customer
from tenants.domain.scopes import Scope
from tenants.selectors.listing import customers_of
from tenants.services import customers
from vendor_api.filters.resources import CustomerFilter
from vendor_api.operations import Resource
from vendor_api.serializers.common import ReasonBody
from vendor_api.serializers.customers import CUSTOMER_EXAMPLE, CustomerBody, CustomerShape
from vendor_api.views.base import VendorView

CUSTOMERS = Resource(
    one="customer",
    many="customers",
    tag="Customers",
    shape=CustomerShape,
    read=Scope.CUSTOMERS_READ,
    write=Scope.CUSTOMERS_WRITE,
    example=CUSTOMER_EXAMPLE,
)


class CustomersView(VendorView):
    """/customers"""

    operations: ClassVar = {"GET": CUSTOMERS.list(CustomerFilter), "POST": CUSTOMERS.create(CustomerBody)}

    def get(self) -> HttpResponse:
        return self.page(customers_of(self.tenant.id))

    def post(self) -> HttpResponse:
        return self.show(customers.create_customer(**self.who(), **self.body))


class CustomerView(VendorView):
    """/customers/{id}"""

    operations: ClassVar = {
        "GET": CUSTOMERS.retrieve(),
        "PATCH": CUSTOMERS.change(CustomerBody),
        "DELETE": CUSTOMERS.archive(description="Nothing new can be made for it, and its licences no longer hold."),
    }

    def get(self, id: str) -> HttpResponse:
        return self.show(get_customer(self.tenant, id))

    def patch(self, id: str) -> HttpResponse:
        customer = get_customer(self.tenant, id)
        return self.show(customers.update_customer(**self.who(), customer_id=customer.id, **self.body))

    def delete(self, id: str) -> HttpResponse:
        customers.archive_customer(**self.who(), customer_id=get_customer(self.tenant, id).id)
        return self.gone()


class SuspendCustomerView(VendorView):
    """/customers/{id}/suspend"""

    operations: ClassVar = {"POST": CUSTOMERS.act("suspend", ReasonBody)}

    def post(self, id: str) -> HttpResponse:
        customer = get_customer(self.tenant, id)
        return self.show(customers.suspend_customer(**self.who(), customer_id=customer.id, **self.body))


class ReinstateCustomerView(VendorView):
    """/customers/{id}/reinstate"""

    operations: ClassVar = {"POST": CUSTOMERS.act("reinstate", ReasonBody)}

    def post(self, id: str) -> HttpResponse:
        customer = get_customer(self.tenant, id)
        return self.show(customers.reinstate_customer(**self.who(), customer_id=customer.id, **self.body))
