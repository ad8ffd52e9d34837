"""A caller's snapshot: everything that a licence decision needs, with the epochs that it was read under.

The epochs are read first and the data after, so a change in between leaves a snapshot that looks older than it
is, never one that looks newer. A snapshot is good while none of its epochs is below the current ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Exists, OuterRef

from common.clock import Clock, tenant_clock
from common.crypto import KeyKind, ParsedKey, license_key_digests, normalize_license_key, verify_key
from common.epochs import EpochKey
from licenses.domain.enums import (
    AgentStatus,
    LapsePolicy,
    LicenseKind,
    LicenseStatus,
    LimitLevel,
    PlanRole,
)
from licenses.domain.facts import (
    AccessFacts,
    AgentFacts,
    CustomerFacts,
    LicenseFacts,
    RateLimitFacts,
    TenantFacts,
)
from licenses.domain.rate_limits import GateLimit, HoldLimit, applicable_limits, throttles_end
from licenses.models import Activation, Agent, AgentKey, License, LicensePlan
from licenses.selectors.grant_facts import grants_of
from licenses.selectors.licenses import CarriedPlans
from tenants.domain.enums import CustomerStatus, EpochKind, TenantStatus
from tenants.models import Tenant
from tenants.selectors.epochs import read_epochs


@dataclass(frozen=True, slots=True, eq=False)
class AccessSnapshot:
    """Who calls, under which licence, with which rights and limits.

    `agent_path` runs from the topmost parent to the agent itself; it is empty where a licence key was shown.
    `epoch_keys` and `versions` belong together. `clock` is the workspace's. `key_networks`: from where the key may be
    used (CIDR); none: from anywhere. `key_pepper_id`: what the agent's or the licence's key is hashed with.
    """

    facts: AccessFacts
    agent_path: tuple[UUID, ...]
    key_id: UUID | None
    key_expires_at: datetime | None
    tenant_slug: str
    test: bool
    timezone: ZoneInfo
    clock: Clock
    base_plan_id: UUID
    add_on_plan_ids: tuple[UUID, ...]
    limits: tuple[GateLimit, ...]
    #: Until the clock ends a throttle, which is among the limits.
    limits_until: datetime | None
    epoch_keys: tuple[EpochKey, ...]
    versions: tuple[int, ...]
    key_networks: tuple[str, ...] = ()
    key_pepper_id: str = ""
    hold_limits: tuple[HoldLimit, ...] = ()

    @property
    def tenant_id(self) -> UUID:
        return self.facts.tenant.id

    @property
    def agent_id(self) -> UUID | None:
        return self.agent_path[-1] if self.agent_path else None


def load_by_agent_key(parsed: ParsedKey) -> AccessSnapshot | None:
    """The snapshot behind an agent's key; None for a key that is unknown or dead, or whose agent is."""
    row = (
        AgentKey.objects.filter(key_id=parsed.key_id)
        .values_list("id", "tenant_id", "digest", "pepper_id", "revoked_at", "agent_id")
        .first()
        if parsed.kind is KeyKind.AGENT
        else None
    )
    if row is None:
        verify_key(parsed, None, None)  # as much work as for a key that is known, so that timing tells nothing
        return None
    key_id, tenant_id, digest, pepper_id, revoked_at, agent_id = row
    if not verify_key(parsed, digest, pepper_id) or revoked_at is not None:
        return None
    snapshot = _load_agent(tenant_id, agent_id, key=key_id)
    return snapshot and replace(snapshot, key_pepper_id=pepper_id)


def load_by_license_key(tenant_id: UUID, text: str) -> AccessSnapshot | None:
    """The snapshot behind a licence key of this tenant; None for an unknown, malformed or foreign one."""
    normalized = normalize_license_key(text)
    if normalized is None:
        return None
    digests = [digest for _, digest in license_key_digests(normalized)]
    carriers = License.objects.for_tenant(tenant_id).filter(key_digest__in=digests).values_list("id", "key_pepper_id")
    carrier = carriers.first()
    snapshot = load_license(tenant_id, carrier[0]) if carrier else None
    # Looked at once more, after the epochs: the key may have been rotated in between.
    again = carriers.first()
    if snapshot is None or carrier is None or again is None or carrier[0] != again[0]:
        return None
    return replace(snapshot, key_pepper_id=again[1])


def load_license(tenant_id: UUID, license_id: UUID) -> AccessSnapshot | None:
    """The snapshot of a licence as such, without an agent; None if there is no such licence."""
    return _load(tenant_id, license_id, path=(), key=None)


def load_agent(tenant_id: UUID, agent_id: UUID) -> AccessSnapshot | None:
    """The snapshot of an agent on whose behalf the vendor acts; revoked agents included."""
    return _load_agent(tenant_id, agent_id, key=None)


def _load_agent(tenant_id: UUID, agent_id: UUID, *, key: UUID | None) -> AccessSnapshot | None:
    row = Agent.objects.for_tenant(tenant_id).filter(id=agent_id).values_list("license_id", "path").first()
    if row is None:
        return None
    return _load(tenant_id, row[0], path=tuple(row[1]), key=key)


def _load(tenant_id: UUID, license_id: UUID, *, path: tuple[UUID, ...], key: UUID | None) -> AccessSnapshot | None:
    customer_id = License.objects.for_tenant(tenant_id).filter(id=license_id).values_list("customer_id", flat=True)
    while (customer := customer_id.first()) is not None:
        epoch_keys = (
            EpochKey(EpochKind.TENANT, tenant_id),
            EpochKey(EpochKind.CUSTOMER, customer),
            EpochKey(EpochKind.LICENSE, license_id),
            *(EpochKey(EpochKind.AGENT, agent_id) for agent_id in path),
            *([EpochKey(EpochKind.KEY, key)] if key else []),
        )
        versions = read_epochs({tenant_id: epoch_keys})[tenant_id]
        licenses = License.objects.for_tenant(tenant_id).select_related("customer", "tenant")
        standing = Activation.objects.filter(license_id=OuterRef("pk"), released_at__isnull=True)
        license = licenses.annotate(has_activations=Exists(standing)).get(id=license_id)
        if license.customer_id == customer:
            return _assemble(license, path, key, epoch_keys, tuple(versions[each] for each in epoch_keys))
    return None


def _assemble(
    license: License,
    path: tuple[UUID, ...],
    key: UUID | None,
    epoch_keys: tuple[EpochKey, ...],
    versions: tuple[int, ...],
) -> AccessSnapshot | None:
    key_expires_at: datetime | None = None
    networks: list[str] = []
    if key is not None:
        # Read once more, after the epochs: it may have been revoked or given an end in between.
        living = AgentKey.objects.filter(id=key, revoked_at__isnull=True).values_list("expires_at", "networks")
        if not living:
            return None
        [(key_expires_at, networks)] = living
    agents = {agent.id: agent for agent in Agent.objects.for_tenant(license.tenant_id).filter(id__in=path)}
    chain = [agents[agent_id] for agent_id in reversed(path)]
    if key is not None and any(agent.status == AgentStatus.REVOKED or agent.archived_at for agent in chain):
        return None
    carried = list(
        LicensePlan.objects.for_tenant(license.tenant_id)
        .filter(license=license)
        .select_related("plan__product")
        .order_by("created_at", "id")
    )
    base = next(each.plan for each in carried if each.role == PlanRole.BASE)
    add_ons = [each.plan for each in carried if each.role == PlanRole.ADD_ON]
    limits = {level: _limits_at(level, license.rate_limits, base.rate_limits) for level in LimitLevel}
    tenant: Tenant = license.tenant
    facts = AccessFacts(
        tenant=TenantFacts(id=tenant.id, status=TenantStatus(tenant.status)),
        customer=CustomerFacts(
            id=license.customer_id,
            status=CustomerStatus(license.customer.status),
            external_id=license.customer.external_id,
        ),
        license=LicenseFacts(
            id=license.id,
            status=LicenseStatus(license.status),
            starts_at=license.starts_at,
            expires_at=license.expires_at,
            grace=timedelta(days=base.grace_days),
            kind=LicenseKind(license.kind),
            trial=base.trial,
        ),
        agents=tuple(_agent_facts(agent, limits[LimitLevel.AGENT]) for agent in chain),
        grants=grants_of(license, base.id, [plan.id for plan in add_ons]),
        product_code=base.product.code,
        plan_code=base.code,
        activation_required=base.activation_required,
        lapse_policy=LapsePolicy(base.lapse_policy),
        activation_lease=base.activation_lease,
        has_activations=license.has_activations,  # type: ignore[attr-defined] # annotated where it was read
        rate_limits=(
            *limits[LimitLevel.LICENSE],
            *_limits(LimitLevel.CUSTOMER, license.customer.rate_limits),
            *_limits(LimitLevel.TENANT, tenant.rate_limits),
        ),
    )
    clock = tenant_clock(tenant.clock_offset or timedelta(0))
    at = clock.now()
    return AccessSnapshot(
        facts=facts,
        agent_path=path,
        key_id=key,
        key_expires_at=key_expires_at,
        tenant_slug=tenant.slug,
        test=tenant.mode == "test",
        timezone=ZoneInfo(tenant.timezone),
        clock=clock,
        base_plan_id=base.id,
        add_on_plan_ids=tuple(plan.id for plan in add_ons),
        limits=applicable_limits(facts, at),
        limits_until=throttles_end(facts, at),
        epoch_keys=epoch_keys,
        versions=versions,
        key_networks=tuple(networks),
        hold_limits=_hold_limits(license, CarriedPlans(base, tuple(add_ons)), chain),
    )


def _hold_limits(license: License, plans: CarriedPlans, chain: Sequence[Agent]) -> tuple[HoldLimit, ...]:
    """The agent's and its parents' own, then the licence's, or else that of its plans."""
    found = [HoldLimit(LimitLevel.AGENT, agent.id, agent.hold_limit) for agent in chain if agent.hold_limit is not None]
    of_license = plans.hold_limit if license.hold_limit is None else license.hold_limit
    if of_license is not None:
        found.append(HoldLimit(LimitLevel.LICENSE, license.id, of_license))
    return tuple(found)


def _throttled_until(throttle: dict[str, Any] | None) -> datetime | None:
    until = throttle.get("until") if throttle else None
    return None if until is None else datetime.fromisoformat(until)


def _agent_facts(agent: Agent, default_limits: tuple[RateLimitFacts, ...]) -> AgentFacts:
    return AgentFacts(
        id=agent.id,
        name=agent.name,
        status=AgentStatus(agent.status),
        expires_at=agent.expires_at,
        parent_id=agent.parent_id,
        features=None if agent.features is None else frozenset(agent.features),
        rate_limits=_limits(LimitLevel.AGENT, agent.rate_limits) or default_limits,
        throttle=next(iter(_limits(LimitLevel.AGENT, [agent.throttle] if agent.throttle else [])), None),
        throttled_until=_throttled_until(agent.throttle),
    )


def _limits_at(
    level: LimitLevel, own: list[dict[str, Any]], of_plan: list[dict[str, Any]]
) -> tuple[RateLimitFacts, ...]:
    """The limits of a level: the licence's own where it has any, else its plan's."""
    mine = [entry for entry in own if entry.get("level") == level]
    return _limits(level, mine or [entry for entry in of_plan if entry.get("level") == level])


def _limits(level: LimitLevel, entries: list[dict[str, Any]]) -> tuple[RateLimitFacts, ...]:
    return tuple(RateLimitFacts(level, entry["limit"], entry["window"], entry.get("burst")) for entry in entries)
