"""The places that plans have for agents, counted while the licences' rows are locked."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, Prefetch, Q

from common.errors import Forbidden
from licenses.domain.enums import AgentStatus
from licenses.models import Agent, License, LicensePlan
from licenses.selectors.licenses import carried_plans
from tenants.models import Tenant, TenantQuerySet


def lock_licenses(tenant: Tenant, license_ids: Collection[UUID]) -> dict[UUID, License]:
    """These licences with customer and plans, locked until the transaction ends; what is not there is left out."""
    carried = LicensePlan.objects.for_tenant(tenant).select_related("plan__product").order_by("created_at", "id")
    with_plans: Prefetch[Any] = Prefetch("carried_plans", carried)
    licenses = License.objects.for_tenant(tenant).filter(id__in=license_ids).select_related("customer")
    # Everybody locks licences in this order, so that two who want several never wait for one another.
    locked = licenses.order_by("id").select_for_update(of=("self",), no_key=True).prefetch_related(with_plans)
    return {license.id: license for license in locked}


def takes_place(agent: Agent, now: datetime) -> bool:
    """Whether the agent takes one of the plan's places: suspended ones do, expired and revoked ones do not."""
    return agent.status != AgentStatus.REVOKED and (agent.expires_at is None or now < agent.expires_at)


class Places:
    """How many agents live under each of some locked licences, and how many may."""

    def __init__(self, tenant: Tenant, licenses: Collection[License], now: datetime) -> None:
        self._tenant, self._now = tenant, now
        self._limits = {each.id: limit for each in licenses if (limit := carried_plans(each).agent_limit) is not None}
        self._living: dict[UUID, int] | None = None

    def take(self, license: License, places: int = 1) -> None:
        """One more agent under this licence, or several.

        Raises Forbidden `agent_limit_reached` with `limit` and `current`.
        """
        limit = self._limits.get(license.id)
        if limit is None:
            return
        if self._living is None:
            self._living = self._count(list(self._limits))
        current = self._living.get(license.id, 0)
        if current + places > limit:
            detail = f"The license's plan allows {limit} agents, and {current} live. Revoke one, or change the plan."
            raise Forbidden("agent_limit_reached", detail, extra={"limit": limit, "current": current})
        self._living[license.id] = current + places

    def take_again(self, agent: Agent) -> None:
        """For an agent that lives again, with all below it that ended because it did. Raises as `take` does."""
        if agent.license_id not in self._limits:
            return
        below = self._lives([agent.license_id], again=agent.id).filter(path__contains=[agent.id]).exclude(pk=agent.id)
        self.take(agent.license, 1 + below.count())

    def _count(self, license_ids: Sequence[UUID]) -> dict[UUID, int]:
        living = self._lives(license_ids)
        return dict(living.order_by().values_list("license_id").annotate(Count("id")))

    def _lives(self, license_ids: Sequence[UUID], *, again: UUID | None = None) -> TenantQuerySet[Agent]:
        """Who takes a place; as if the agent `again` had not ended."""
        agents = Agent.objects.for_tenant(self._tenant).filter(license_id__in=license_ids, archived_at__isnull=True)
        agents = agents.exclude(status=AgentStatus.REVOKED)
        ended = agents.filter(expires_at__lte=self._now, children__isnull=False).values_list("id", flat=True)
        above = [id for id in ended.distinct() if id != again]
        living = agents.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=self._now))
        if above:
            # With a parent those below it end, however long their own lives are.
            living = living.exclude(path__overlap=above)
        return living
