"""Agents below a licence: made within the plan's number, and changed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from msgspec import UNSET, UnsetType

from common.epochs import EpochKey
from common.errors import Conflict, Forbidden, Invalid
from common.ids import new_id
from licenses.domain.enums import AgentKind, AgentStatus, LicenseStatus
from licenses.models import Agent, AgentKey, License
from licenses.selectors.licenses import carried_plans
from licenses.selectors.lookup import resolve_agent, resolve_license
from licenses.services.agent_events import emit_agent_event
from licenses.services.agent_keys import mint_agent_key
from licenses.services.agent_states import archive_agent, refuse_if_archived, resume_agent, revoke_agent, suspend_agent
from licenses.services.delegation import load_parent, refuse_excess, refuse_unless_it_holds
from licenses.services.grants import feature_codes
from tenants.domain.actors import Actor
from tenants.domain.enums import EpochKind
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import apply_changes, plain
from tenants.services.epochs import bump_epochs, republish

__all__ = [
    "MAX_DEPTH",
    "CreatedAgent",
    "archive_agent",
    "create_agent",
    "resume_agent",
    "revoke_agent",
    "suspend_agent",
    "update_agent",
]

#: Agents on a path from the topmost one down; every call counts on each of them.
MAX_DEPTH: Final = 8


class CreatedAgent(NamedTuple):
    """A new agent and the text of its first key, which is shown once."""

    agent: Agent
    key_text: str
    key: AgentKey

    def __repr__(self) -> str:
        return f"CreatedAgent({self.agent!r}, {self.key!r})"


def create_agent(
    *,
    tenant: Tenant,
    actor: Actor,
    license: License | UUID | str,
    name: str,
    kind: str = AgentKind.AGENT,
    parent_id: Agent | UUID | str | None = None,
    expires_at: datetime | None = None,
    features: Sequence[str] | None = None,
    rate_limits: Sequence[Mapping[str, Any]] = (),
    hold_limit: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    spawned: bool = False,
) -> CreatedAgent:
    """Make an agent with a key, also under a licence that has expired, not begun or is suspended.

    With a parent it has at most what that has. `spawned` is when the parent itself asks: then the licence and the
    parent must hold, features must be granted, and the child's life ends with the parent's and the licence's.
    The plan's number of agents holds under parallel calls: the licence's row is locked while they are counted.
    Emits `agent.created`. Raises Invalid, Forbidden `agent_limit_reached` (with `limit` and `current`),
    `exceeds_parent`, `agent_depth_reached` (with `limit`) or, spawned, the code of what stands against the licence;
    Conflict `license_revoked`, `agent_revoked` or `agent_archived` (the parent).
    """
    agent = Agent(
        id=new_id(),
        tenant=tenant,
        name=fields.text(name, "name"),
        kind=fields.member(kind, "kind", AgentKind),
        expires_at=fields.optional_instant(expires_at, "expires_at"),
        rate_limits=fields.rate_limits(rate_limits),
        hold_limit=fields.optional_integer(hold_limit, "hold_limit"),
        metadata=fields.metadata(metadata),
        spawned=spawned,
    )
    with transaction.atomic():
        agent.license = _locked_license(tenant, resolve_license(tenant, license).id)
        if agent.license.status == LicenseStatus.REVOKED and not spawned:
            raise Conflict("license_revoked", "The license is revoked for good; no agent can be made under it.")
        now = clock_of(tenant).now()
        _set_below(agent, _parent(tenant, agent.license, parent_id, spawned=spawned), features, now)
        if _counts(agent, now):
            _check_agent_limit(tenant, agent.license)
        agent.save(force_insert=True)
        created = mint_agent_key(tenant, agent)
        record_audit(
            tenant_id=tenant.id,
            actor=actor,
            action="agent.created",
            target=agent,
            changes={
                "name": [None, agent.name],
                "license": [None, agent.license.public_id],
                "parent": [None, agent.parent.public_id if agent.parent else None],
                "key": [None, created.key.public_id],
                "expires_at": [None, plain(agent.expires_at)],
                "features": [None, agent.features],
            },
        )
        emit_agent_event("agent.created", agent)
    return CreatedAgent(agent, created.text, created.key)


def update_agent(
    *,
    tenant: Tenant,
    agent_id: UUID,
    actor: Actor,
    name: str | UnsetType = UNSET,
    kind: str | UnsetType = UNSET,
    expires_at: datetime | UnsetType | None = UNSET,
    features: Sequence[str] | UnsetType | None = UNSET,
    rate_limits: Sequence[Mapping[str, Any]] | UnsetType = UNSET,
    hold_limit: int | UnsetType | None = UNSET,
    metadata: Mapping[str, Any] | UnsetType | None = UNSET,
    license: License | UUID | str | UnsetType = UNSET,
    parent_id: Agent | UUID | str | UnsetType | None = UNSET,
) -> Agent:
    """Change what is given; licence and parent may be sent again but never change (Invalid `immutable`).

    An expired agent whose expiry is put off lives again, and must fit into the plan's number. A child is given no more
    than its parent has; what a parent loses its children lose with it, though nothing of theirs is written.
    Raises NotFound, Invalid, Forbidden `agent_limit_reached` or `exceeds_parent`, Conflict `agent_revoked` or
    `agent_archived`, RevocationPending.
    """
    wanted: dict[str, Any] = {
        "name": UNSET if name is UNSET else fields.text(name, "name"),
        "kind": UNSET if kind is UNSET else fields.member(kind, "kind", AgentKind),
        "expires_at": UNSET if expires_at is UNSET else fields.optional_instant(expires_at, "expires_at"),
        "rate_limits": UNSET if rate_limits is UNSET else fields.rate_limits(rate_limits),
        "hold_limit": UNSET if hold_limit is UNSET else fields.optional_integer(hold_limit, "hold_limit"),
        "metadata": UNSET if metadata is UNSET else fields.metadata(metadata),
    }
    with transaction.atomic():
        mine = Agent.objects.for_tenant(tenant)
        holder = _locked_license(tenant, mine.get_or_raise(agent_id).license_id)  # before the agent, as everybody
        agent = mine.select_for_update(no_key=True).get_or_raise(agent_id)
        agent.license = holder
        if agent.status == AgentStatus.REVOKED:
            raise Conflict("agent_revoked", "The agent is revoked for good and does not change any more.")
        refuse_if_archived(agent, "The agent's life is over and it was put away; it does not change any more.")
        if license is not UNSET:
            fields.immutable(resolve_license(tenant, license).id, agent.license_id, "license")
        if parent_id is not UNSET:
            parent = None if parent_id is None else resolve_agent(tenant, parent_id, field="parent_id").id
            fields.immutable(parent, agent.parent_id, "parent_id")
        if features is not UNSET:
            product = carried_plans(holder).product
            wanted["features"] = None if features is None else feature_codes(product, features)
        now = clock_of(tenant).now()
        if agent.parent_id is not None:
            refuse_excess(
                load_parent(tenant.id, agent.parent_id).facts,
                at=now,
                features=_given(wanted.get("features")),
                rate_limits=_given(wanted["rate_limits"]) or (),
                expires_at=_given(wanted["expires_at"]),
            )
        counted_before = _counts(agent, now)
        changes = apply_changes(agent, wanted)
        if _counts(agent, now) and not counted_before:
            _check_agent_limit(tenant, holder)
        if changes:
            agent.save(update_fields=[*changes, "updated_at"])
            record_audit(tenant_id=tenant.id, actor=actor, action="agent.updated", target=agent, changes=changes)
            bump_epochs(tenant.id, EpochKey(EpochKind.AGENT, agent.id))
        else:
            republish(tenant.id, EpochKey(EpochKind.AGENT, agent.id))
    return agent


def _locked_license(tenant: Tenant, license_id: UUID) -> License:
    licenses = License.objects.for_tenant(tenant).select_related("customer")
    return licenses.select_for_update(of=("self",), no_key=True).get_or_raise(license_id)


def _parent(tenant: Tenant, license: License, reference: Agent | UUID | str | None, *, spawned: bool) -> Agent | None:
    if reference is None:
        return None
    parent = resolve_agent(tenant, reference, field="parent_id")
    # An instance that was handed in may be older than the lock.
    parent = Agent.objects.for_tenant(tenant).get_or_raise(parent.id)
    if parent.license_id != license.id:
        raise Invalid.field("parent_id", "other_license", "A parent is an agent of the same license.")
    if parent.status == AgentStatus.REVOKED:
        raise Conflict("agent_revoked", "The parent is revoked for good; nothing can be made below it.")
    refuse_if_archived(parent, "The parent's life is over and it was put away; nothing can be made below it.")
    if len(parent.path) >= MAX_DEPTH:
        detail = f"At most {MAX_DEPTH} agents stand below one another."
        if spawned:
            raise Forbidden("agent_depth_reached", detail, extra={"limit": MAX_DEPTH})
        raise Invalid.field("parent_id", "too_deep", detail)
    return parent


def _set_below(agent: Agent, parent: Agent | None, features: Sequence[str] | None, now: datetime) -> None:
    """Give the agent its place, its features and, if its parent made it, an end: no more than the parent has."""
    agent.parent = parent
    agent.path = [*(parent.path if parent else ()), agent.id]
    product = carried_plans(agent.license).product
    if parent is None:
        agent.features = None if features is None else feature_codes(product, features)
        return
    facts = load_parent(agent.tenant_id, parent.id).facts
    if agent.spawned:
        refuse_unless_it_holds(facts, now)
        if agent.expires_at is None:
            agent.expires_at = parent.expires_at
    else:
        features = None if features is None else feature_codes(product, features)
    refuse_excess(
        facts,
        at=now,
        features=features,
        rate_limits=agent.rate_limits,
        expires_at=agent.expires_at,
        spawned_for="ttl" if agent.spawned else None,
    )
    # What is not there was refused as what the parent lacks: an agent is not told what the vendor's features are.
    agent.features = None if features is None else feature_codes(product, features)


def _given(value: Any) -> Any:
    return None if value is UNSET else value


def _counts(agent: Agent, now: datetime) -> bool:
    """Whether the agent takes one of the plan's places: suspended ones do, expired and revoked ones do not."""
    return agent.status != AgentStatus.REVOKED and (agent.expires_at is None or now < agent.expires_at)


def _check_agent_limit(tenant: Tenant, license: License) -> None:
    """Refuse one more agent than the plans allow. The licence's row is locked."""
    limit = carried_plans(license).agent_limit
    if limit is None:
        return
    now = clock_of(tenant).now()
    agents = Agent.objects.for_tenant(tenant).filter(license=license, archived_at__isnull=True)
    agents = agents.exclude(status=AgentStatus.REVOKED)
    ended = list(agents.filter(expires_at__lte=now, children__isnull=False).values_list("id", flat=True).distinct())
    living = agents.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now))
    # With a parent those below it end, however long their own lives are.
    current = (living.exclude(path__overlap=ended) if ended else living).count()
    if current >= limit:
        detail = f"The license's plan allows {limit} agents, and {current} live. Revoke one, or change the plan."
        raise Forbidden("agent_limit_reached", detail, extra={"limit": limit, "current": current})
