"""Finding a customer by id or external id."""

from uuid import UUID

from common.errors import Invalid, NotFound
from common.ids import Prefix
from tenants.models import Customer, Tenant
from tenants.selectors.references import find


def get_customer(tenant: Tenant, reference: str) -> Customer:
    """The customer that a URL names by id or external id. Raises NotFound."""
    found = find(Customer.objects.for_tenant(tenant), reference, prefix=Prefix.CUSTOMER, code_field="external_id")
    if found is None:
        raise NotFound("No customer has this id or external id.")
    return found


def resolve_customer(tenant: Tenant, reference: Customer | UUID | str, *, field: str = "customer") -> Customer:
    """The customer that a body names by id or external id. Raises Invalid on `field`."""
    found = find(Customer.objects.for_tenant(tenant), reference, prefix=Prefix.CUSTOMER, code_field="external_id")
    if found is None:
        raise Invalid.field(field, "not_found", "No customer has this id or external id.")
    return found
