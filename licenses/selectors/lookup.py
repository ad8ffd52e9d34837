"""Finding things by id or code.

`resolve_*` is for what a body refers to and raises Invalid on that field; `get_*` is for what a URL names and
raises NotFound. A text is an id only if the whole of it parses as a TypeID.
"""

from collections.abc import Mapping
from typing import TypeVar
from uuid import UUID

from common.errors import Invalid, NotFound
from common.ids import Prefix, parse_any_id
from licenses.models import Agent, AgentKey, Feature, License, Plan, Product
from tenants.models import Tenant, TenantOwned, TenantQuerySet
from tenants.selectors.customers import get_customer, resolve_customer
from tenants.selectors.references import find

__all__ = [
    "get_agent",
    "get_agent_key",
    "get_customer",
    "get_feature",
    "get_license",
    "get_plan",
    "get_product",
    "named_id",
    "pick",
    "resolve_agent",
    "resolve_customer",
    "resolve_feature",
    "resolve_license",
    "resolve_plan",
    "resolve_product",
]

M = TypeVar("M", bound=TenantOwned)


def resolve_product(
    tenant: Tenant, reference: Product | UUID | str, *, field: str = "product", unarchived: bool = False
) -> Product:
    """A product that a body names by id or code; `unarchived` refuses one that was put away."""
    product = _resolve(Product.objects.for_tenant(tenant), reference, Prefix.PRODUCT, "code", field)
    if unarchived and product.archived_at is not None:
        raise Invalid.field(field, "archived", "This product is archived; nothing new can be made of it.")
    return product


def resolve_feature(
    tenant: Tenant, reference: Feature | UUID | str, *, product: Product | UUID | None = None, field: str = "feature"
) -> Feature:
    """A feature by id or, within `product`, by code: codes are unique within a product only."""
    features = Feature.objects.for_tenant(tenant)
    if product is None:
        return _resolve(features, reference, Prefix.FEATURE, None, field)
    product_id = product.id if isinstance(product, Product) else product
    return _resolve(features.filter(product_id=product_id), reference, Prefix.FEATURE, "code", field)


def resolve_plan(tenant: Tenant, reference: Plan | UUID | str, *, field: str = "plan") -> Plan:
    """A plan by id or code, its product loaded; an archived one too."""
    plans = Plan.objects.for_tenant(tenant).select_related("product")
    return _resolve(plans, reference, Prefix.PLAN, "code", field)


def resolve_license(tenant: Tenant, reference: License | UUID | str, *, field: str = "license") -> License:
    """A licence by id."""
    return _resolve(License.objects.for_tenant(tenant), reference, Prefix.LICENSE, None, field)


def resolve_agent(tenant: Tenant, reference: Agent | UUID | str, *, field: str = "agent") -> Agent:
    """An agent by id."""
    return _resolve(Agent.objects.for_tenant(tenant), reference, Prefix.AGENT, None, field)


def named_id(reference: object, model: type[M]) -> UUID | None:
    """The id of what a body names by instance, UUID or public id; None for what cannot name a row of this model."""
    if isinstance(reference, TenantOwned):
        return reference.id if isinstance(reference, model) else None
    if isinstance(reference, str) and (parsed := parse_any_id(reference)) is not None:
        return parsed[1] if parsed[0] == model.id_prefix else None
    return reference if isinstance(reference, UUID) else None


def pick(found: Mapping[UUID, M], reference: object, model: type[M], *, field: str) -> M:
    """The one of these rows that a body names by id, or Invalid as where it is looked up."""
    row_id = named_id(reference, model)
    row = None if row_id is None else found.get(row_id)
    if row is None:
        raise _unknown(model, reference, None, field)
    return row


def get_product(tenant: Tenant, reference: str) -> Product:
    """A product that a URL names by id or code, or NotFound."""
    return _get(Product.objects.for_tenant(tenant), reference, Prefix.PRODUCT, "code")


def get_feature(tenant: Tenant, reference: str) -> Feature:
    """A feature that a URL names by id, or NotFound."""
    return _get(Feature.objects.for_tenant(tenant).select_related("product"), reference, Prefix.FEATURE, None)


def get_plan(tenant: Tenant, reference: str) -> Plan:
    """A plan that a URL names by id or code, or NotFound."""
    return _get(Plan.objects.for_tenant(tenant).select_related("product"), reference, Prefix.PLAN, "code")


def get_license(tenant: Tenant, reference: str) -> License:
    """A licence that a URL names by id, or NotFound."""
    return _get(License.objects.for_tenant(tenant), reference, Prefix.LICENSE, None)


def get_agent(tenant: Tenant, reference: str) -> Agent:
    """An agent that a URL names by id, or NotFound."""
    return _get(Agent.objects.for_tenant(tenant), reference, Prefix.AGENT, None)


def get_agent_key(tenant: Tenant, agent: Agent, reference: str) -> AgentKey:
    """A key of this agent that a URL names by id, or NotFound."""
    keys = AgentKey.objects.for_tenant(tenant).filter(agent=agent)
    return _get(keys, reference, Prefix.AGENT_KEY, None)


def _resolve(queryset: TenantQuerySet[M], reference: object, prefix: Prefix, code_field: str | None, field: str) -> M:
    found = find(queryset, reference, prefix=prefix, code_field=code_field)
    if found is None:
        raise _unknown(queryset.model, reference, code_field, field)
    return found


def _unknown(model: type[TenantOwned], reference: object, code_field: str | None, field: str) -> Invalid:
    named = f"the {_name(code_field)} '{reference}'" if isinstance(reference, str) else f"this {_name(code_field)}"
    return Invalid.field(field, "not_found", f"No {_noun(model)} has {named}.")


def _get(queryset: TenantQuerySet[M], reference: str, prefix: Prefix, code_field: str | None) -> M:
    found = find(queryset, reference, prefix=prefix, code_field=code_field)
    if found is None:
        raise NotFound(f"No {_noun(queryset.model)} has this {_name(code_field)}.")
    return found


def _name(code_field: str | None) -> str:
    return "id or code" if code_field else "id"


def _noun(model: type[TenantOwned]) -> str:
    return str(model._meta.verbose_name)
