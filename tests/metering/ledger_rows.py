"""A small vendor's workspace, and events and balances written straight into the tables, as the ledger leaves them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from common.ids import new_id
from licenses.domain.enums import PlanRole
from licenses.models import Agent, License, LicensePlan, Plan, Product
from metering.domain.enums import EventKind, HoldStatus, Period, PriceModel, QuotaMode, Scope
from metering.domain.quota_keys import balance_id, event_digest, quota_key
from metering.models import Balance, EventId, Hold, HoldLine, Meter, Price, Quota, UsageEvent
from metering.services.partitions import ensure_partition_for
from tenants.models import Customer, Tenant

OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
MONTHS = (OCTOBER, NOVEMBER, DECEMBER)


@dataclass
class Workspace:
    """A tenant with a product, a plan, a customer, a licence, an agent with a sub-agent, and a sum meter."""

    tenant: Tenant
    product: Product
    plan: Plan
    customer: Customer
    license: License
    agent: Agent
    worker: Agent
    meter: Meter

    @classmethod
    def make(cls, slug: str = "acme", **fields: Any) -> Workspace:
        tenant = Tenant.objects.create(slug=slug, name=slug, **fields)
        product = Product.objects.create(tenant=tenant, code="researcher", name="Researcher")
        plan = Plan.objects.create(tenant=tenant, product=product, code="pro", name="Pro")
        customer = Customer.objects.create(tenant=tenant, external_id="c1", name="Customer")
        license = License.objects.create(tenant=tenant, customer=customer, starts_at=OCTOBER)
        LicensePlan.objects.create(tenant=tenant, license=license, plan=plan, role=PlanRole.BASE)
        agent = cls._agent(license, None, "orchestrator")
        worker = cls._agent(license, agent, "worker")
        meter = Meter.objects.create(tenant=tenant, code="tokens", name="Tokens", unit="token", dimensions=["model"])
        return cls(tenant, product, plan, customer, license, agent, worker, meter)

    @staticmethod
    def _agent(license: License, parent: Agent | None, name: str) -> Agent:
        agent_id = new_id()
        path = [*(parent.path if parent else []), agent_id]
        return Agent.objects.create(
            id=agent_id, tenant=license.tenant, license=license, parent=parent, path=path, name=name
        )

    def quota(
        self,
        limit: str = "100",
        *,
        scope: Scope = Scope.LICENSE,
        mode: QuotaMode = QuotaMode.SOFT,
        period: Period = Period.MONTH,
        plan: Plan | None = None,
        on: Agent | None = None,
        only: dict[str, str] | None = None,
    ) -> Quota:
        """A quota of the plan (or of another one), or of an agent."""
        owner = None if on else (plan or self.plan)
        key = quota_key(
            tenant_id=self.tenant.id,
            plan_id=owner.id if owner else None,
            scope=scope,
            meter_id=self.meter.id,
            filter=only or {},
            period=period,
        )
        return Quota.objects.create(
            tenant=self.tenant,
            meter=self.meter,
            scope=scope,
            plan=owner,
            agent=on,
            key=key,
            filter=only or {},
            limit=Decimal(limit),
            mode=mode,
            period=period,
        )

    def price(self, unit_price: str | None = "0.002", **fields: Any) -> Price:
        """A price of the plan for the meter."""
        each = None if unit_price is None else Decimal(unit_price)
        values: dict[str, Any] = {"plan": self.plan, "model": PriceModel.PER_UNIT, "unit_price": each}
        values |= fields
        return Price.objects.create(tenant=self.tenant, meter=self.meter, currency="USD", **values)

    def add_on(self, code: str = "more") -> Plan:
        """A second plan that the licence carries."""
        plan = Plan.objects.create(tenant=self.tenant, product=self.product, code=code, name=code)
        LicensePlan.objects.create(tenant=self.tenant, license=self.license, plan=plan, role=PlanRole.ADD_ON)
        return plan

    def change_plan(self, code: str) -> Plan:
        """Another base plan, from now on."""
        plan = Plan.objects.create(tenant=self.tenant, product=self.product, code=code, name=code)
        LicensePlan.objects.filter(license=self.license, role=PlanRole.BASE).update(plan=plan)
        return plan

    def balance(
        self,
        quota: Quota,
        used: str = "0",
        *,
        month: datetime = NOVEMBER,
        subject_id: UUID | None = None,
        **fields: Any,
    ) -> Balance:
        """The balance of a quota in a month (or for ever)."""
        start, end = month, next((later for later in MONTHS if later > month), None)
        if quota.period == Period.LIFETIME:
            start, end = datetime(1970, 1, 1, tzinfo=UTC), None
        subject = subject_id or self.subject(Scope(quota.scope), quota)
        return Balance.objects.create(
            id=balance_id(quota.key, subject, start),
            tenant=self.tenant,
            quota_key=quota.key,
            scope=quota.scope,
            subject_id=subject,
            meter=self.meter,
            plan_id=quota.plan_id,
            customer_id=self.customer.id,
            license_id=self.license.id if quota.scope in (Scope.LICENSE, Scope.AGENT) else None,
            filter=quota.filter,
            period=quota.period,
            period_start=start,
            period_end=end,
            used=Decimal(used),
            **fields,
        )

    def subject(self, scope: Scope, quota: Quota) -> UUID:
        own = {Scope.LICENSE: self.license.id, Scope.CUSTOMER: self.customer.id, Scope.TENANT: self.tenant.id}
        return own.get(scope, quota.agent_id or self.worker.id)

    def use(
        self,
        quantity: str,
        *balances: Balance,
        at: datetime = NOVEMBER + timedelta(days=2),
        agent: Agent | None = None,
        dimensions: dict[str, str] | None = None,
        client_id: str | None = None,
    ) -> UsageEvent:
        """An event in the tables, registered and counted on the balances, in one transaction."""
        agent = agent or self.worker
        ensure_partition_for(at)
        with transaction.atomic():
            for balance in balances:
                Balance.objects.filter(pk=balance.pk).update(used=F("used") + Decimal(quantity), updated_at=Now())
            return insert_event(self, Decimal(quantity), at, agent, dimensions or {}, client_id or str(new_id()))

    def hold(
        self, quantity: str, *balances: Balance, expires_at: datetime, status: HoldStatus = HoldStatus.OPEN
    ) -> Hold:
        """A hold with a line on each balance."""
        with transaction.atomic():
            hold = Hold.objects.create(
                tenant=self.tenant,
                license=self.license,
                customer=self.customer,
                agent=self.worker,
                client_id=str(new_id()),
                status=status,
                usage=[{"meter": self.meter.code, "quantity": quantity, "dimensions": {}}],
                expires_at=expires_at,
            )
            for balance in balances:
                Balance.objects.filter(pk=balance.pk).update(held=F("held") + Decimal(quantity))
                HoldLine.objects.create(
                    tenant=self.tenant,
                    hold=hold,
                    balance=balance,
                    line=0,
                    quantity=Decimal(quantity),
                    reserved=Decimal(quantity),
                    expires_at=expires_at,
                )
        return hold


def insert_event(
    workspace: Workspace, quantity: Decimal, at: datetime, agent: Agent, dimensions: dict[str, str], client_id: str
) -> UsageEvent:
    """An event and its register row; the database gives the transaction id."""
    event = UsageEvent(
        tenant=workspace.tenant,
        customer=workspace.customer,
        license=workspace.license,
        agent=agent,
        agent_path=agent.path,
        meter=workspace.meter,
        client_id=client_id,
        quantity=quantity,
        dimensions=dimensions,
        occurred_at=at,
        recorded_at=at,
        kind=EventKind.USAGE,
        xid=current_xid(),
    )
    event.save(force_insert=True)
    EventId.objects.create(
        tenant=workspace.tenant,
        digest=event_digest(workspace.license.id, b"", client_id),
        fingerprint=new_id(),
        kind=EventKind.USAGE,
        occurred_at=at,
        occurred_given=True,
        event_ids=[event.id],
    )
    return event


def current_xid() -> int:
    """The id of the transaction that is under way."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        number: int = cursor.fetchone()[0]
    return number
