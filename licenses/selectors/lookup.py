"""Finding things by id or code.

`resolve_*` is for what a body refers to and raises Invalid on that field; `get_*` is for what a URL names and
raises NotFound. A text is an id only if the whole of it parses as a TypeID.
"""

from uuid import UUID

from licenses.models import Agent, Feature, License, Plan, Product
from tenants.models import Customer, Tenant


def resolve_product(tenant: Tenant, reference: Product | UUID | str, *, field: str = "product") -> Product:
    """A product that a body names by id or code."""
    raise NotImplementedError


def resolve_feature(
    tenant: Tenant, reference: Feature | UUID | str, *, product: Product | UUID | None = None, field: str = "feature"
) -> Feature:
    """A feature by id or code; codes are unique within a product only."""
    raise NotImplementedError


def resolve_plan(tenant: Tenant, reference: Plan | UUID | str, *, field: str = "plan") -> Plan:
    """A plan by id or code."""
    raise NotImplementedError


def resolve_license(tenant: Tenant, reference: License | UUID | str, *, field: str = "license") -> License:
    """A licence by id."""
    raise NotImplementedError


def resolve_agent(tenant: Tenant, reference: Agent | UUID | str, *, field: str = "agent") -> Agent:
    """An agent by id."""
    raise NotImplementedError


def resolve_customer(tenant: Tenant, reference: Customer | UUID | str, *, field: str = "customer") -> Customer:
    """A customer by id or external id."""
    raise NotImplementedError


def get_product(tenant: Tenant, reference: str) -> Product:
    """A product that a URL names by id or code, or NotFound."""
    raise NotImplementedError


def get_feature(tenant: Tenant, reference: str) -> Feature:
    """A feature that a URL names by id, or NotFound."""
    raise NotImplementedError


def get_plan(tenant: Tenant, reference: str) -> Plan:
    """A plan that a URL names by id or code, or NotFound."""
    raise NotImplementedError


def get_license(tenant: Tenant, reference: str) -> License:
    """A licence that a URL names by id, or NotFound."""
    raise NotImplementedError


def get_agent(tenant: Tenant, reference: str) -> Agent:
    """An agent that a URL names by id, or NotFound."""
    raise NotImplementedError


def get_customer(tenant: Tenant, reference: str) -> Customer:
    """A customer that a URL names by id, or NotFound."""
    raise NotImplementedError
