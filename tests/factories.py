"""Small functions that build what a test needs, through the services: nothing is made that could not be made for real.

Every one takes what it must belong to and keyword arguments for the service behind it; names are made up and unique.
"""

from __future__ import annotations

from itertools import count
from typing import Any, NamedTuple

from licenses.models import Agent, Feature, License, Plan, Product
from licenses.services.agents import CreatedAgent, create_agent
from licenses.services.catalogue import create_feature, create_product
from licenses.services.issuing import IssuedLicense, issue_license
from licenses.services.plans import create_plan
from tenants.domain.actors import Actor
from tenants.domain.enums import ActorKind, TenantMode
from tenants.models import Customer, Tenant, User
from tenants.services.api_keys import CreatedApiKey, create_api_key
from tenants.services.customers import create_customer
from tenants.services.workspaces import create_workspace

ACTOR = Actor(kind=ActorKind.USER, id="usr_test", name="Tess Tester", address="192.0.2.7", request_id="req-test")

_numbers = count(1)


class Shop(NamedTuple):
    """A vendor with one of each: product, plan without limits, customer, licence and agent with their texts."""

    tenant: Tenant
    product: Product
    plan: Plan
    customer: Customer
    license: License
    license_key: str
    agent: Agent
    agent_key: str


def make_user(email: str | None = None, **more: Any) -> User:
    return User.objects.create_user(email or f"user-{next(_numbers)}@example.com", **more)


def make_workspace(**more: Any) -> Tenant:
    number = next(_numbers)
    return create_workspace(**{"actor": ACTOR, "name": f"Vendor {number}", "slug": f"vendor-{number}", **more})


def make_test_workspace(**more: Any) -> Tenant:
    return make_workspace(mode=TenantMode.TEST, **more)


def make_api_key(tenant: Tenant, *, scopes: tuple[str, ...] = ("*",), **more: Any) -> CreatedApiKey:
    return create_api_key(**{"tenant": tenant, "actor": ACTOR, "name": "backend", "scopes": scopes, **more})


def make_customer(tenant: Tenant, **more: Any) -> Customer:
    number = next(_numbers)
    made_up = {"external_id": f"customer-{number}", "name": f"Customer {number}"}
    return create_customer(**{"tenant": tenant, "actor": ACTOR, **made_up, **more})


def make_product(tenant: Tenant, **more: Any) -> Product:
    number = next(_numbers)
    return create_product(
        **{"tenant": tenant, "actor": ACTOR, "code": f"product-{number}", "name": f"Product {number}", **more}
    )


def make_feature(product: Product, **more: Any) -> Feature:
    code = f"feature-{next(_numbers)}"
    made_up = {"product": product, "code": code, "name": code.capitalize(), "kind": "switch"}
    return create_feature(**{"tenant": product.tenant, "actor": ACTOR, **made_up, **more})


def make_plan(product: Product, **more: Any) -> Plan:
    code = f"plan-{next(_numbers)}"
    made_up = {"product": product, "code": code, "name": code.capitalize()}
    return create_plan(**{"tenant": product.tenant, "actor": ACTOR, **made_up, **more})


def issue(plan: Plan, customer: Customer | None = None, **more: Any) -> IssuedLicense:
    """A licence with its key's text."""
    holder = customer or make_customer(plan.tenant)
    return issue_license(**{"tenant": plan.tenant, "actor": ACTOR, "customer": holder, "plan": plan, **more})


def make_license(plan: Plan, customer: Customer | None = None, **more: Any) -> License:
    return issue(plan, customer, **more).license


def make_agent(license: License, **more: Any) -> CreatedAgent:
    """An agent with its key's text (`key_text`)."""
    name = f"agent-{next(_numbers)}"
    return create_agent(**{"tenant": license.tenant, "actor": ACTOR, "license": license, "name": name, **more})


def make_shop(*, plan: dict[str, Any] | None = None, tenant: Tenant | None = None, **license: Any) -> Shop:
    """One of each; `plan` and further keyword arguments are for the plan and the licence."""
    tenant = tenant or make_workspace()
    product = make_product(tenant)
    made_plan = make_plan(product, **(plan or {}))
    customer = make_customer(tenant)
    issued = issue(made_plan, customer, **license)
    created = make_agent(issued.license)
    return Shop(
        tenant=tenant,
        product=product,
        plan=made_plan,
        customer=customer,
        license=issued.license,
        license_key=issued.license_key or "",
        agent=created.agent,
        agent_key=created.key_text,
    )
