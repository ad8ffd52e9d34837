"""What several callers of one batch count on is worked out once for them, and is right for each."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from metering.domain.allowances import Beside
from metering.selectors.quota_statuses import Asked, CallerQuotas, QuotaStatus, statuses_from
from tests.metering.ledger_world import NOW, World, make_world

pytestmark = pytest.mark.django_db(transaction=True)


def asked_of(world: World) -> list[Asked]:
    """Of a child and its parent."""
    return [Asked(CallerQuotas(world.caller(agent)), NOW) for agent in world.agents]


def test_statuses_from__callers_of_one_licence__share_what_they_have_in_common() -> None:
    world = make_world(2)
    world.quota("10", on="agent", agent=world.agents[0])
    world.quota("100")
    world.quota("1000", on="tenant")
    asked = asked_of(world)
    requests = [world.request("3", caller=each.quotas.caller) for each in asked]
    posted = world.post(*requests)
    shared: dict[UUID, QuotaStatus] = {}

    child, parent = (statuses_from(each, posted.balances, shared) for each in asked)

    assert [(each.quota.scope, each.used, each.remaining) for each in child] == [
        ("agent", Decimal(3), Decimal(7)),
        ("license", Decimal(6), Decimal(94)),
        ("tenant", Decimal(6), Decimal(994)),
    ]
    assert [id(each) for each in parent] == [id(each) for each in child[1:]]
    alone = [statuses_from(each, posted.balances) for each in asked]
    assert [[(each.quota.id, each.standing, each.remaining, each.state) for each in one] for one in alone] == [
        [(each.quota.id, each.standing, each.remaining, each.state) for each in one] for one in (child, parent)
    ]


def test_statuses_from__another_limit_on_the_same_balance__is_not_shared() -> None:
    world = make_world(2)
    world.quota("100")
    first, second = asked_of(world)
    posted = world.post(world.request("30", caller=first.quotas.caller))
    caller = second.quotas.caller
    more = tuple(replace(quota, limit=Decimal(150)) for quota in caller.quotas)
    wider = Asked(CallerQuotas(replace(caller, quotas=more)), NOW)
    shared: dict[UUID, QuotaStatus] = {}

    [[narrow], [wide]] = [statuses_from(each, posted.balances, shared) for each in (first, wider)]

    assert (narrow.remaining, wide.remaining) == (Decimal(70), Decimal(120))


def test_statuses_from__balance_with_something_beside_its_row__is_not_shared() -> None:
    world = make_world(2)
    world.quota("100")
    asked = asked_of(world)
    posted = world.post(world.request("30", caller=asked[0].quotas.caller))
    [balance] = posted.balances.values()
    balance.beside = Beside()
    later = [each._replace(at=NOW + timedelta(minutes=place)) for place, each in enumerate(asked)]
    shared: dict[UUID, QuotaStatus] = {}

    found = [statuses_from(each, posted.balances, shared) for each in later]

    assert shared == {}
    assert [[each.remaining for each in one] for one in found] == [[Decimal(70)], [Decimal(70)]]
