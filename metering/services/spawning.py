"""An agent makes an agent below itself, with a budget of its own: one transaction."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from common.errors import Invalid
from licenses.domain.delegation import Excess
from licenses.models import Agent
from licenses.services.agents import CreatedAgent, create_agent
from licenses.services.delegation import load_parent, refuse
from metering.domain.budgets import budget_excess
from metering.domain.enums import Scope
from metering.selectors.terms import bound_quotas
from metering.services.quota_fields import QuotaSpec, read_quota
from metering.services.quotas import insert_quota
from tenants.domain.actors import Actor
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services import fields
from tenants.services.locks import lock_configuration

MAX_TTL: Final = 10 * 366 * 86_400
MAX_BUDGETS: Final = 100

_FIELDS = ("meter", "limit", "period", "mode", "filter", "anchor", "ceiling", "thresholds", "carry_over")


def spawn_agent(
    *,
    tenant: Tenant,
    parent_id: UUID,
    actor: Actor,
    name: str,
    ttl: int | None = None,
    features: Sequence[str] | None = None,
    rate_limits: Sequence[Mapping[str, Any]] = (),
    quotas: Sequence[Mapping[str, Any]] = (),
) -> CreatedAgent:
    """Make a child of `parent_id`, at its own wish, that has at most what it has; what is left out is as the parent's.

    `ttl` in seconds from now, on the workspace's clock; when it has passed the child has ended, and its place is free.
    Quotas are hard unless they say otherwise, and are compared with the parents' of the same meter and period.
    Nothing in flight can miss a quota of an agent that does not exist yet, but what a quota counts must not change
    under it: so the configuration lock is taken where there are any, and only then.
    Raises Invalid, NotFound, Forbidden: `exceeds_parent`, `agent_depth_reached`, `agent_limit_reached`, or the code of
    what stands against the parent or its licence.
    """
    lasts = fields.optional_integer(ttl, "ttl", least=1, most=MAX_TTL)
    with transaction.atomic():
        if quotas:
            lock_configuration(tenant.id)
        specs = [_read(tenant, path, each) for path, each in fields.entries(quotas, "quotas", most=MAX_BUDGETS)]
        _refuse_doubles(tenant, specs)
        parent = Agent.objects.for_tenant(tenant).get_or_raise(parent_id)
        created = create_agent(
            tenant=tenant,
            actor=actor,
            license=parent.license_id,
            name=name,
            parent_id=parent,
            expires_at=None if lasts is None else clock_of(tenant).now() + timedelta(seconds=lasts),
            features=features,
            rate_limits=rate_limits,
            spawned=True,
        )
        if specs:
            _refuse_excess(tenant, parent_id, specs)
            for spec in specs:
                insert_quota(tenant, actor, spec, plan_id=None, owner={"agent": created.agent})
    return created


def _read(tenant: Tenant, path: str, entry: Mapping[str, Any]) -> QuotaSpec:
    fields.only_keys(entry, path, _FIELDS)
    return read_quota(tenant, entry, scope=Scope.AGENT, prefix=path)


def _refuse_doubles(tenant: Tenant, specs: Sequence[QuotaSpec]) -> None:
    seen: set[UUID] = set()
    for place, spec in enumerate(specs):
        key = spec.key(tenant.id, None)
        if key in seen:
            raise Invalid.field(f"quotas.{place}", "duplicate", "There is a quota already that counts the same.")
        seen.add(key)


def _refuse_excess(tenant: Tenant, parent_id: UUID, specs: Sequence[QuotaSpec]) -> None:
    parents = bound_quotas(load_parent(tenant.id, parent_id))
    found = [(place, budget_excess(spec, parents, meter_id=spec.meter.id)) for place, spec in enumerate(specs)]
    refuse(Excess(f"quotas.{place}.limit", detail) for place, detail in found if detail is not None)
