"""Agents before they are stored: checked one by one, then written all together."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from common.errors import Conflict, Forbidden, Invalid
from common.ids import new_id
from licenses.domain.enums import AgentKind, AgentStatus, LicenseStatus
from licenses.domain.facts import AccessFacts
from licenses.models import Agent, AgentKey, License, Product
from licenses.selectors.licenses import carried_plans
from licenses.selectors.lookup import named_id, pick
from licenses.services.agent_events import emit_agent_events
from licenses.services.agent_keys import draft_agent_key
from licenses.services.agent_places import Places, lock_licenses, takes_place
from licenses.services.agent_states import refuse_if_archived
from licenses.services.delegation import load_parent, refuse_excess, refuse_unless_it_holds
from licenses.services.grants import FeatureNames, feature_codes, feature_names
from tenants.domain.actors import Actor
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services import fields
from tenants.services.auditing import AuditNote, record_audits
from tenants.services.changes import plain

#: Agents on a path from the topmost one down; every call counts on each of them.
MAX_DEPTH: Final = 8

LicenseReference = License | UUID | str
AgentReference = Agent | UUID | str


class CreatedAgent(NamedTuple):
    """A new agent and the text of its first key, which is shown once."""

    agent: Agent
    key_text: str
    key: AgentKey

    def __repr__(self) -> str:
        return f"CreatedAgent({self.agent!r}, {self.key!r})"


class AgentBook:
    """The licences and parents that new agents name: the licences locked, each thing read once for all of them."""

    def __init__(
        self, tenant: Tenant, licenses: Iterable[LicenseReference], parents: Iterable[AgentReference | None]
    ) -> None:
        self.tenant = tenant
        self._licenses = lock_licenses(tenant, {id for each in licenses if (id := named_id(each, License)) is not None})
        # After the licences: an instance that was handed in, and whatever was read before, may be older than the lock.
        above = {id for each in parents if (id := named_id(each, Agent)) is not None}
        self._parents = Agent.objects.for_tenant(tenant).in_bulk(above) if above else {}
        self.now = clock_of(tenant).now()
        self.places = Places(tenant, self._licenses.values(), self.now)
        self._facts: dict[UUID, AccessFacts] = {}
        self._features: dict[UUID, FeatureNames] = {}

    def license(self, reference: LicenseReference) -> License:
        """The locked licence of this id. Raises Invalid."""
        return pick(self._licenses, reference, License, field="license")

    def parent(self, reference: AgentReference) -> Agent:
        """The agent of this id. Raises Invalid."""
        return pick(self._parents, reference, Agent, field="parent_id")

    def facts(self, parent: Agent) -> AccessFacts:
        """What the parent has, with all above it."""
        if parent.id not in self._facts:
            self._facts[parent.id] = load_parent(self.tenant.id, parent.id).facts
        return self._facts[parent.id]

    def feature_codes(self, product: Product, sent: Sequence[str] | None) -> list[str] | None:
        """Codes of the product's features, sent as codes or ids. Raises Invalid."""
        if sent is None:
            return None
        if product.id not in self._features:
            self._features[product.id] = feature_names(product)
        return feature_codes(product, sent, known=self._features[product.id])


def draft_agent(
    book: AgentBook,
    *,
    license: LicenseReference,
    name: str,
    kind: str = AgentKind.AGENT,
    parent_id: AgentReference | None = None,
    expires_at: datetime | None = None,
    features: Sequence[str] | None = None,
    rate_limits: Sequence[Mapping[str, Any]] = (),
    hold_limit: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    spawned: bool = False,
) -> Agent:
    """Check what an agent is to be and give it its place; nothing is written. Raises as `create_agent` does."""
    agent = Agent(
        id=new_id(),
        tenant=book.tenant,
        name=fields.text(name, "name"),
        kind=fields.member(kind, "kind", AgentKind),
        expires_at=fields.optional_instant(expires_at, "expires_at"),
        rate_limits=fields.rate_limits(rate_limits),
        hold_limit=fields.optional_integer(hold_limit, "hold_limit"),
        metadata=fields.metadata(metadata),
        spawned=spawned,
    )
    agent.license = book.license(license)
    if agent.license.status == LicenseStatus.REVOKED and not spawned:
        raise Conflict("license_revoked", "The license is revoked for good; no agent can be made under it.")
    _set_below(book, agent, None if parent_id is None else _parent(book, agent, parent_id), features)
    if takes_place(agent, book.now):
        book.places.take(agent.license)
    return agent


def store_agents(tenant: Tenant, actor: Actor, agents: Sequence[Agent]) -> list[CreatedAgent]:
    """Write agents with a key each, trail and events, in as many statements for a thousand as for one."""
    if not agents:
        return []
    minted = [draft_agent_key(tenant, agent) for agent in agents]
    Agent.objects.bulk_create(agents)
    AgentKey.objects.bulk_create(each.key for each in minted)
    created = [CreatedAgent(agent, each.text, each.key) for agent, each in zip(agents, minted, strict=True)]
    record_audits(tenant.id, actor, (_note(each) for each in created))
    emit_agent_events("agent.created", agents)
    return created


def _parent(book: AgentBook, agent: Agent, reference: AgentReference) -> Agent:
    parent = book.parent(reference)
    if parent.license_id != agent.license_id:
        raise Invalid.field("parent_id", "other_license", "A parent is an agent of the same license.")
    if parent.status == AgentStatus.REVOKED:
        raise Conflict("agent_revoked", "The parent is revoked for good; nothing can be made below it.")
    refuse_if_archived(parent, "The parent's life is over and it was put away; nothing can be made below it.")
    if len(parent.path) >= MAX_DEPTH:
        detail = f"At most {MAX_DEPTH} agents stand below one another."
        if agent.spawned:
            raise Forbidden("agent_depth_reached", detail, extra={"limit": MAX_DEPTH})
        raise Invalid.field("parent_id", "too_deep", detail)
    return parent


def _set_below(book: AgentBook, agent: Agent, parent: Agent | None, features: Sequence[str] | None) -> None:
    """Give the agent its place, its features and, if its parent made it, an end: no more than the parent has."""
    agent.parent = parent
    agent.path = [*(parent.path if parent else ()), agent.id]
    product = carried_plans(agent.license).product
    if parent is None:
        agent.features = book.feature_codes(product, features)
        return
    facts = book.facts(parent)
    if agent.spawned:
        refuse_unless_it_holds(facts, book.now)
        if agent.expires_at is None:
            agent.expires_at = parent.expires_at
    else:
        features = book.feature_codes(product, features)
    refuse_excess(
        facts,
        at=book.now,
        features=features,
        rate_limits=agent.rate_limits,
        expires_at=agent.expires_at,
        spawned_for="ttl" if agent.spawned else None,
    )
    # What is not there was refused as what the parent lacks: an agent is not told what the vendor's features are.
    agent.features = book.feature_codes(product, features)


def _note(created: CreatedAgent) -> AuditNote:
    agent = created.agent
    return AuditNote(
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
