"""Callers that are read many at a time for an import are those that would be read one by one."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from common.clock import real_clock
from common.ids import Prefix, encode_id, new_id
from licenses.models import Agent, License, LicensePlan, Plan
from licenses.selectors.access import load_agent, load_license
from metering.domain.terms import Caller
from metering.models import Quota, TopUp
from metering.selectors.import_callers import ImportCallers, Owner
from metering.selectors.terms import load_caller
from tenants.models import Customer
from tests.metering.ledger_world import World, make_world

pytestmark = pytest.mark.django_db(transaction=True)

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
#: Usage that is imported opens no holds.
COMPARED = [each.name for each in fields(Caller) if each.name not in {"hold_limits", "remembered"}]


def more_agents(world: World, number: int, license: License | None = None) -> list[Agent]:
    made = []
    for place in range(number):
        id = new_id()
        agent = Agent(id=id, tenant=world.tenant, license=license or world.license, path=[id], name=f"more{place}")
        agent.save(force_insert=True)
        made.append(agent)
    return made


def second_license(world: World, customer: Customer | None = None) -> License:
    license = License.objects.create(
        tenant=world.tenant, customer=customer or world.license.customer, starts_at=datetime(2026, 3, 15, tzinfo=UTC)
    )
    LicensePlan.objects.create(tenant=world.tenant, license=license, plan=world.plan, role="base")
    return license


def of_agent(agent: Agent) -> Owner:
    return "agent", encode_id(Prefix.AGENT, agent.id)


def of_license(license: License) -> Owner:
    return "license", encode_id(Prefix.LICENSE, license.id)


def shown(caller: Caller | None) -> dict[str, object]:
    assert caller is not None
    return {name: getattr(caller, name) for name in COMPARED}


def test_import_callers__quotas_of_every_kind__same_as_read_one_by_one() -> None:
    world = make_world(3, around=real_clock().now())
    beside = second_license(world)
    elsewhere = second_license(world, Customer.objects.create(tenant=world.tenant, external_id="globex"))
    extra = Plan.objects.create(tenant=world.tenant, product=world.plan.product, code="extra", name="Extra")
    LicensePlan.objects.create(tenant=world.tenant, license=elsewhere, plan=extra, role="add_on")
    agents = [*world.agents, *more_agents(world, 2, beside), *more_agents(world, 1, elsewhere)]
    for place, on in enumerate(("tenant", "customer", "license", "plan", "agent")):
        world.quota(str(100 + place), on=on, period="month")
        world.quota(str(200 + place), on=on, period="day", filter={"model": "large"})
    world.quota("7", on="agent", agent=world.agents[-1], period="hour")
    world.quota("9", on="agent", agent=agents[3], period="week", anchor="license")
    world.quota("50", on="plan", period="year", carry_over=True, carry_over_since=SINCE)
    for period, scope in (("week", "agent"), ("lifetime", "customer")):
        Quota.objects.filter(id=world.quota("70", on="plan", period=period).id).update(scope=scope)
    topped_up = world.quota("60", on="license", period="hour")
    TopUp.objects.create(
        tenant=world.tenant,
        quota=topped_up,
        quota_key=topped_up.key,
        scope=topped_up.scope,
        subject_id=world.license.id,
        amount=Decimal(5),
        starts_at=SINCE,
    )
    licenses = [world.license, beside, elsewhere]
    owners = [*map(of_agent, agents), *map(of_license, licenses)]

    found = ImportCallers(world.tenant.id).find(owners)

    for agent in agents:
        access = load_agent(world.tenant.id, agent.id)
        assert access is not None
        assert shown(found[of_agent(agent)]) == shown(load_caller(access))
    for license in licenses:
        access = load_license(world.tenant.id, license.id)
        assert access is not None
        assert shown(found[of_license(license)]) == shown(load_caller(access))
    deepest = found[of_agent(world.agents[0])]
    assert deepest is not None
    assert [quota.topped_up for quota in deepest.quotas].count(True) == 1
    assert len({quota.carry_over.since for quota in deepest.quotas if quota.carry_over is not None}) == 1


def test_import_callers__nobodys__are_none() -> None:
    world, other = make_world(around=real_clock().now()), make_world(around=real_clock().now())
    strangers: list[Owner] = [
        of_agent(other.agents[0]),
        of_license(other.license),
        ("agent", "agt_01h455vb4pex5vsknk084sn02q"),
        ("agent", of_license(world.license)[1]),
        ("license", ""),
        ("agent", "x" * 256),
    ]

    found = ImportCallers(world.tenant.id).find([*strangers, of_agent(world.agents[0])])

    assert {owner: found[owner] for owner in strangers} == dict.fromkeys(strangers)
    assert found[of_agent(world.agents[0])] is not None


def test_import_callers__more_agents_of_a_licence__no_more_queries() -> None:
    world = make_world(around=real_clock().now())
    world.quota("10")
    world.quota("10", on="agent")
    counts = []
    for number in (2, 30):
        agents = more_agents(world, number)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            ImportCallers(world.tenant.id).find(map(of_agent, agents))
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_import_callers__forgotten__are_read_anew() -> None:
    world = make_world(around=real_clock().now())
    owner = of_agent(world.agents[0])
    callers = ImportCallers(world.tenant.id)
    before = callers.find([owner])[owner]
    assert before is not None
    assert callers.find([owner])[owner] is before
    quota = world.quota("10")

    callers.forget([before])

    after = callers.find([owner])[owner]
    assert after is not None
    assert [each.id for each in after.quotas] == [quota.id]
