"""Who buys from the demo vendor: a dozen customers, each with an orchestrator that has sub-agents."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from licenses.models import Agent, License
from licenses.services.agents import create_agent
from licenses.services.issuing import issue_license
from licensing_site.quickstart.catalogue import PER_TASK, PRO, STARTER
from metering.models import Quota
from metering.services.quotas import create_quota
from tenants.domain.actors import Actor
from tenants.models import Customer, Tenant


@dataclass(frozen=True, slots=True)
class Buyer:
    """A customer, its plan, how busy it is beside the others, and its agents: the first one leads the rest."""

    external_id: str
    name: str
    plan: str
    weight: float
    agents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Crew:
    """A buyer's licence and the ids of its agents by name."""

    buyer: Buyer
    license_id: UUID
    agents: dict[str, UUID]
    license_key: str | None
    agent_keys: dict[str, str]


DEMO = "acme"
RUNAWAY = ("globex", "scraper")

BUYERS: Sequence[Buyer] = (
    Buyer(DEMO, "Acme Research", PRO, 1.1, ("orchestrator", "indexer", "summariser")),
    Buyer("globex", "Globex Corporation", PRO, 2.6, ("orchestrator", "scraper", "writer", "checker")),
    Buyer("initech", "Initech", STARTER, 0.35, ("assistant",)),
    Buyer("umbrella", "Umbrella Health", PRO, 1.6, ("triage", "coder", "reviewer")),
    Buyer("hooli", "Hooli", PRO, 3.2, ("orchestrator", "planner", "browser", "writer")),
    Buyer("stark", "Stark Industries", PRO, 2.1, ("lead", "designer", "simulator")),
    Buyer("wayne", "Wayne Enterprises", PER_TASK, 0.8, ("butler", "analyst")),
    Buyer("tyrell", "Tyrell", PER_TASK, 1.3, ("maker", "tester")),
    Buyer("soylent", "Soylent Foods", STARTER, 0.5, ("buyer", "taster")),
    Buyer("wonka", "Wonka Sweets", STARTER, 0.25, ("inventor",)),
    Buyer("cyberdyne", "Cyberdyne Systems", PRO, 1.9, ("core", "scout", "planner")),
    Buyer("aperture", "Aperture Science", PER_TASK, 0.6, ("tester",)),
)


def ensure_crew(tenant: Tenant, actor: Actor, buyer: Buyer, *, since: datetime) -> Crew:
    """The buyer's licence and agents; what is made now comes with its keys."""
    customer = Customer.objects.for_tenant(tenant).filter(external_id=buyer.external_id).first()
    license = License.objects.for_tenant(tenant).filter(customer=customer).order_by("id").first() if customer else None
    license_key: str | None = None
    if license is None:
        license, license_key = issue_license(
            tenant=tenant,
            actor=actor,
            customer={"external_id": buyer.external_id, "name": buyer.name},
            plan=buyer.plan,
            starts_at=since,
        )
    known = dict(Agent.objects.for_tenant(tenant).filter(license=license).values_list("name", "id"))
    keys: dict[str, str] = {}
    for name in buyer.agents:
        if name in known:
            continue
        parent = known.get(buyer.agents[0])
        created = create_agent(tenant=tenant, actor=actor, license=license, name=name, parent_id=parent)
        known[name] = created.agent.id
        keys[name] = created.key_text
    _ensure_budget(tenant, actor, buyer, known)
    return Crew(buyer, license.id, known, license_key, keys)


def _ensure_budget(tenant: Tenant, actor: Actor, buyer: Buyer, agents: dict[str, UUID]) -> None:
    """Sub-agents of the busiest customer have a budget of their own, so that quotas on agents can be seen at work."""
    if buyer.external_id != "hooli":
        return
    agent_id = agents["browser"]
    if not Quota.objects.for_tenant(tenant).filter(agent_id=agent_id).exists():
        create_quota(
            tenant=tenant,
            actor=actor,
            on={"agent": agent_id},
            meter="tokens",
            limit="250000",
            period="day",
            mode="soft",
        )
