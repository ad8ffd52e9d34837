"""A vendor with as many agents as a case needs, made through the services."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

METER = "tokens"
#: A quota on each of three levels that never runs out.
THREE_LEVELS = ("agent", "license", "customer")
_PRICE = {"meter": METER, "currency": "USD", "model": "per_unit", "unit_price": "0.000002"}

_RATES = [{"level": level, "limit": 6_000_000, "window": 60} for level in ("agent", "license")]


@dataclass(frozen=True, slots=True)
class Shop:
    """Ids and keys of the agents, in the order of their licences."""

    tenant_id: UUID
    agents: list[UUID]
    keys: list[str]


def make_shop(
    *,
    agents: int = 1,
    licenses: int = 1,
    levels: Sequence[str] = (),
    limit: str = "1000000000000",
    mode: str = "hard",
    priced: bool = False,
    rates: bool = False,
    depth: int = 1,
) -> Shop:
    """A workspace of its own: `agents` shared out among `licenses` of as many customers, a quota on each of `levels`.

    `priced`: what exceeds the licence's quota, which has to be soft, costs something. `rates`: a rate limit that is
    never reached, on each agent and licence. `depth`: above each agent stands a chain of others, so that it is the
    lowest of so many; all count on the quota of their level.

    With one licence all agents meet on its balance and its customer's; with as many as agents none does.
    """
    from licenses.services.agents import create_agent
    from licenses.services.catalogue import create_feature, create_product
    from licenses.services.issuing import issue_license
    from metering.services.meters import create_meter
    from metering.services.partitions import maintain_partitions
    from metering.services.plan_terms import create_plan_with_terms
    from metering.services.quotas import create_quota
    from tenants.domain.actors import worker
    from tenants.services.workspaces import create_workspace

    maintain_partitions()
    actor = worker("bench")
    tag = secrets.token_hex(4)
    tenant = create_workspace(actor=actor, name="Bench", slug=f"bench-{tag}")
    create_product(tenant=tenant, actor=actor, code="researcher", name="Researcher")
    create_feature(
        tenant=tenant, actor=actor, product="researcher", code="web_search", name="Web search", kind="switch"
    )
    create_meter(tenant=tenant, actor=actor, code=METER, unit="token", dimensions=["model"])
    quotas: list[dict[str, Any]] = [
        {"meter": METER, "limit": limit, "period": "month", "mode": mode, "scope": level} for level in levels
    ]
    create_plan_with_terms(
        tenant=tenant,
        actor=actor,
        code="pro",
        name="Pro",
        product="researcher",
        grants=[{"feature": "web_search", "value": True}],
        quotas=[quota for quota in quotas if quota["scope"] != "tenant"],
        prices=[_PRICE] if priced else [],
    )
    if "tenant" in levels:
        create_quota(
            tenant=tenant, actor=actor, on={"tenant": True}, meter=METER, limit=limit, period="month", mode=mode
        )
    limits = _RATES if rates else []
    issued = [
        issue_license(
            tenant=tenant, actor=actor, customer={"external_id": f"c{place}"}, plan="pro", rate_limits=limits
        ).license
        for place in range(licenses)
    ]
    made = []
    for place in range(agents):
        agent = None
        for level in range(depth):
            parent_id = agent.agent.id if agent else None
            agent = create_agent(
                tenant=tenant,
                actor=actor,
                license=issued[place % licenses],
                name=f"a{place}-{level}",
                parent_id=parent_id,
            )
        made.append(agent)
    return Shop(tenant.id, [each.agent.id for each in made], [each.key_text for each in made])
