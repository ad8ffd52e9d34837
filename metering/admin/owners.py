"""Pages of workspaces, customers, plans, licences and agents again, with what metering knows about them."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from common.ids import Prefix
from licenses.admin.agents import AgentAdmin
from licenses.admin.catalogue import PlanAdmin
from licenses.admin.licenses import LicenseAdmin
from licenses.models import Agent, AgentKey, License, Plan, Product
from metering.admin.clocks import CLOCK_OPERATIONS
from metering.admin.proofs import PROOF_OPERATIONS
from metering.admin.runaway import incidents_of_agent, rules_of_agent, rules_of_plan
from metering.models import Meter, OverageRecord, Price, Quota
from metering.selectors.applicable import QuotaStanding, quotas_applying
from metering.selectors.overages import list_overages
from metering.selectors.quotas import quotas_of_plan
from metering.selectors.recent import recent_events
from tenants.admin import columns
from tenants.admin.links import code, id_link, subject_link
from tenants.admin.panels import Panel, Rows
from tenants.admin.workspaces import CustomerAdmin, TenantAdmin
from tenants.models import ApiKey, Customer, Membership, Tenant
from tenants.selectors.clocks import clock_of

SHOWN_EVENTS = 20
SHOWN_OVERAGES = 12

for model in (Tenant, Customer, Plan, License, Agent):
    admin.site.unregister(model)


@admin.register(Tenant)
class MeteredTenantAdmin(TenantAdmin):
    """Workspaces, with how much they hold; their ledger is proven and mended here, test ones are moved in time."""

    operations = (*TenantAdmin.operations, *CLOCK_OPERATIONS, *PROOF_OPERATIONS)

    def panels(self, request: HttpRequest, row: Tenant) -> Iterable[Panel]:
        """Counts first."""
        yield Panel("What it holds", ["What", "How many"], lambda: _counts(row), "tenants.view_tenant")
        yield from super().panels(request, row)


@admin.register(Customer)
class MeteredCustomerAdmin(CustomerAdmin):
    """Customers, with licences, quotas and overages."""

    def panels(self, request: HttpRequest, row: Customer) -> Iterable[Panel]:
        """What they have, and what it comes to."""
        yield Panel(
            "Newest licenses",
            ["License", "Status", "Starts at", "Expires at"],
            lambda: _licenses(row),
            "licenses.view_license",
            more=f"{reverse('admin:licenses_license_changelist')}?q={row.public_id}",
        )
        yield _quotas(lambda at: quotas_applying(row.tenant, customer=row, at=at), row.tenant)
        yield _overages(lambda: list_overages(row.tenant_id, customer_id=row.pk), row.public_id)
        yield from super().panels(request, row)


@admin.register(Plan)
class MeteredPlanAdmin(PlanAdmin):
    """Plans, with their quotas and prices."""

    def panels(self, request: HttpRequest, row: Plan) -> Iterable[Panel]:
        """Terms, then grants."""
        yield Panel(
            "Quotas",
            ["Meter", "Scope", "Limit", "Period", "Mode"],
            lambda: _plan_quotas(row),
            "metering.view_quota",
        )
        yield rules_of_plan(row)
        yield Panel("Prices", ["Meter", "Model", "Unit price", "Currency"], lambda: _prices(row), "metering.view_price")
        yield from super().panels(request, row)


@admin.register(License)
class MeteredLicenseAdmin(LicenseAdmin):
    """Licences, with quotas and overages."""

    def panels(self, request: HttpRequest, row: License) -> Iterable[Panel]:
        """How it stands first."""
        yield _quotas(lambda at: quotas_applying(row.tenant, license=row, at=at), row.tenant)
        yield _overages(lambda: list_overages(row.tenant_id, license_id=row.pk), row.public_id)
        yield from super().panels(request, row)


@admin.register(Agent)
class MeteredAgentAdmin(AgentAdmin):
    """Agents, with quotas and events."""

    def panels(self, request: HttpRequest, row: Agent) -> Iterable[Panel]:
        """How it stands, and what it did last."""
        yield _quotas(lambda at: quotas_applying(row.tenant, agent=row, at=at), row.tenant)
        yield incidents_of_agent(row)
        yield rules_of_agent(row)
        yield Panel(
            f"Last {SHOWN_EVENTS} events",
            ["Occurred at", "Meter", "Quantity", "Dimensions", "Kind", "Id it gave"],
            lambda: _events(row),
            "metering.view_usageevent",
            more=f"{reverse('admin:metering_usageevent_changelist')}?q={row.public_id}",
        )
        yield from super().panels(request, row)


def _quotas(standings: Callable[[datetime], list[QuotaStanding]], tenant: Tenant) -> Panel:
    def rows() -> Rows:
        for standing in standings(clock_of(tenant).now()):
            terms = standing.terms
            limit, extra = columns.number(terms.limit), standing.standing.extra
            yield (
                id_link(Prefix.QUOTA, terms.id, terms.meter_code),
                subject_link(terms.scope, terms.subject_id),
                f"{terms.mode} / {terms.period}",
                columns.number(standing.used),
                columns.number(standing.held),
                format_html("{} + {}", limit, columns.number(extra)) if extra else limit,
                columns.number(standing.remaining),
                standing.state.replace("_", " "),
                columns.when(standing.resets_at),
            )

    headers = ["Meter", "Whom", "Mode / period", "Used", "Held", "Limit", "Remaining", "State", "Resets at"]
    return Panel("Quotas now", headers, rows, "metering.view_quota", empty="No quota applies.")


def _overages(records: Callable[[], Iterable[OverageRecord]], public_id: str) -> Panel:
    def rows() -> Rows:
        for record in list(records()[:SHOWN_OVERAGES]):  # type: ignore[index]
            yield (
                id_link(Prefix.OVERAGE, record.pk, columns.when(record.period_start)),
                record.meter.code,
                columns.number(record.quantity),
                format_html("{} {}", columns.number(record.amount), record.currency),
                record.get_status_display(),
            )

    return Panel(
        "Last overages",
        ["Period", "Meter", "Over by", "Amount", "Status"],
        rows,
        "metering.view_overagerecord",
        empty="Nothing is over.",
        more=f"{reverse('admin:metering_overagerecord_changelist')}?q={public_id}",
    )


def _events(agent: Agent) -> Rows:
    for event in recent_events(agent, limit=SHOWN_EVENTS, now=clock_of(agent.tenant).now()):
        yield (
            id_link(Prefix.EVENT, event.pk, columns.when(event.occurred_at)),
            event.meter.code,
            columns.number(event.quantity),
            code(", ".join(f"{name}={value}" for name, value in event.dimensions.items()) or "–"),
            event.get_kind_display(),
            code(event.client_id),
        )


def _counts(tenant: Tenant) -> Iterator[tuple[object, object]]:
    for model in (Membership, Customer, ApiKey, Product, Plan, License, Agent, AgentKey, Meter, Quota):
        name = str(model._meta.verbose_name_plural).capitalize()
        url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        link = format_html('<a class="text-link" href="{}?tenant__id__exact={}">{}</a>', url, tenant.pk, name)
        yield link, columns.number(model._default_manager.filter(tenant=tenant).count())  # type: ignore[arg-type]


def _licenses(customer: Customer) -> Rows:
    licenses = License.objects.for_tenant(customer.tenant_id).filter(customer=customer).defer("key_digest")
    for license in licenses.order_by("-created_at")[:20]:
        yield (
            id_link(Prefix.LICENSE, license.pk),
            license.get_status_display(),
            columns.when(license.starts_at),
            columns.when(license.expires_at),
        )


def _plan_quotas(plan: Plan) -> Rows:
    for quota in quotas_of_plan(plan):
        yield (
            id_link(Prefix.QUOTA, quota.pk, quota.meter.code),
            quota.get_scope_display(),
            columns.number(quota.limit),
            quota.get_period_display(),
            quota.get_mode_display(),
        )


def _prices(plan: Plan) -> Rows:
    prices = Price.objects.for_tenant(plan.tenant_id).filter(plan=plan, archived_at__isnull=True)
    for price in prices.select_related("meter").order_by("-created_at")[:50]:
        yield (
            id_link(Prefix.PRICE, price.pk, price.meter.code),
            price.get_model_display(),
            columns.number(price.unit_price),
            price.currency,
        )
