"""Finding a customer by id or external id."""

from uuid import UUID

from common.errors import Invalid, NotFound
from common.ids import Prefix, decode_id
from tenants.models import Customer, Tenant
from tenants.selectors.references import find


def get_customer(tenant: Tenant, reference: str) -> Customer:
    """The customer that a URL names by its id. Raises NotFound."""
    try:
        customer_id = decode_id(Prefix.CUSTOMER, reference)
    except ValueError:
        raise NotFound("No customer has this id.") from None
    return Customer.objects.for_tenant(tenant).get_or_raise(customer_id)


def resolve_customer(tenant: Tenant, reference: Customer | UUID | str, *, field: str = "customer") -> Customer:
    """The customer that a body names by id or external id. Raises Invalid on `field`."""
    found = find(Customer.objects.for_tenant(tenant), reference, prefix=Prefix.CUSTOMER, code_field="external_id")
    if found is None:
        raise Invalid.field(field, "not_found", "No customer has this id or external id.")
    return found
