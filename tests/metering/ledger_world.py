"""A small world for tests of the ledger: a workspace, a licence, a chain of agents, a meter, quotas on demand."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from django.db.models import Sum

from common.ids import new_id
from licenses.models import Agent, License, LicensePlan, Plan, Product
from licenses.selectors.access import load_agent, load_license
from metering.domain.enums import EventKind
from metering.domain.quota_keys import event_digest, quota_key
from metering.domain.requests import Line, Request
from metering.domain.terms import Caller
from metering.models import Balance, Meter, Quota
from metering.selectors.terms import load_caller
from metering.services.ledger import Posted, post
from metering.services.partitions import ensure_partitions
from metering.services.payloads import usage_fingerprint
from tenants.models import Customer, Tenant

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@dataclass
class World:
    tenant: Tenant
    license: License
    plan: Plan
    meter: Meter
    agents: list[Agent]

    def quota(
        self,
        limit: str,
        *,
        on: str = "license",
        agent: Agent | None = None,
        mode: str = "hard",
        period: str = "day",
        filter: Mapping[str, str] | None = None,
        **more: object,
    ) -> Quota:
        """A quota on the plan's licences, or on the licence, customer, agent or tenant itself."""
        owner: dict[str, object] = {
            "plan": {"plan": self.plan},
            "license": {"license": self.license},
            "customer": {"customer": self.license.customer},
            "agent": {"agent": agent or self.agents[0]},
            "tenant": {},
        }[on]
        scope = "license" if on == "plan" else on
        key = quota_key(
            tenant_id=self.tenant.id,
            plan_id=self.plan.id if on == "plan" else None,
            scope=scope,
            meter_id=self.meter.id,
            filter=dict(filter or {}),
            period=period,
        )
        return Quota.objects.create(
            tenant=self.tenant,
            meter=self.meter,
            scope=scope,
            key=key,
            filter=dict(filter or {}),
            limit=Decimal(limit),
            mode=mode,
            period=period,
            **owner,
            **more,
        )

    def caller(self, agent: Agent | None = None) -> Caller:
        agent = agent or (self.agents[0] if self.agents else None)
        access = load_agent(self.tenant.id, agent.id) if agent else load_license(self.tenant.id, self.license.id)
        assert access is not None
        return load_caller(access)

    def request(
        self,
        quantity: str = "1",
        *,
        id: str | None = None,
        caller: Caller | None = None,
        kind: EventKind = EventKind.USAGE,
        at: datetime = NOW,
        occurred_at: datetime | None = None,
        dimensions: Mapping[str, str] | None = None,
    ) -> Request:
        caller = caller or self.caller()
        meter = caller.meters[self.meter.code]
        id = id or uuid.uuid4().hex
        line = Line(meter, Decimal(quantity), dict(dimensions or {}), occurred_at or at, new_id())
        return Request(
            caller=caller,
            kind=kind,
            id=id,
            digest=event_digest(caller.license_id, b"", id),
            fingerprint=usage_fingerprint(meter.id, line.quantity, line.dimensions),
            lines=[line],
            at=at,
            occurred_given=occurred_at is not None,
            hold_id=new_id() if kind is EventKind.HOLD else None,
        )

    def post(self, *requests: Request) -> Posted:
        return post(requests)

    def used(self, quota: Quota) -> Decimal:
        total = Balance.objects.filter(quota_key=quota.key).aggregate(total=Sum("used"))["total"]
        return total or Decimal(0)


def make_world(agents: int = 1, *, timezone: str = "UTC", around: datetime = NOW) -> World:
    """A fresh workspace; `agents` of them in a chain, the first one is the deepest child."""
    ensure_partitions(around.replace(year=around.year - 1), 18)
    tag = uuid.uuid4().hex[:10]
    tenant = Tenant.objects.create(slug=f"t-{tag}", name="Test", timezone=timezone)
    customer = Customer.objects.create(tenant=tenant, external_id="acme")
    product = Product.objects.create(tenant=tenant, code="researcher", name="Researcher")
    plan = Plan.objects.create(tenant=tenant, product=product, code="pro", name="Pro")
    license = License.objects.create(tenant=tenant, customer=customer, starts_at=datetime(2026, 1, 31, tzinfo=UTC))
    LicensePlan.objects.create(tenant=tenant, license=license, plan=plan, role="base")
    meter = Meter.objects.create(
        tenant=tenant, code="tokens", name="Tokens", unit="token", aggregation="sum", dimensions=["model"]
    )
    chain: list[Agent] = []
    for depth in range(agents):
        id = new_id()
        parent = chain[-1] if chain else None
        path = [*(parent.path if parent else []), id]
        chain.append(
            Agent.objects.create(id=id, tenant=tenant, license=license, parent=parent, path=path, name=f"a{depth}")
        )
    return World(tenant, license, plan, meter, list(reversed(chain)))
