"""Rotation of agents' keys: the overlap to the instant, many at once, and revoking again."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from agent_api.use_cases import known_callers
from common.clock import FixedClock, real_clock
from licenses.models import AgentKey
from licenses.services import agent_keys
from licenses.services.agent_keys import create_agent_key, revoke_agent_key, update_agent_key
from tenants.models import AuditEntry, OutboxEvent
from tests.agent_door import AgentDoor, Vendor
from tests.factories import ACTOR, make_test_workspace
from tests.parallel import at_once

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FixedClock:
    """Real time, as keys see it."""
    known_callers.forget_all()
    clock = FixedClock(real_clock().now())
    for module in (agent_keys, known_callers):
        monkeypatch.setattr(module, "real_clock", lambda: clock)
    return clock


def works(*texts: str) -> list[bool]:
    return [AgentDoor(text).post("/validate").status == 200 for text in texts]


@pytest.mark.parametrize("is_test", [False, True])
def test_rotate__with_overlap__both_are_good_and_the_old_one_dies_at_the_instant(
    clock: FixedClock, is_test: bool
) -> None:
    vendor = Vendor(make_test_workspace()) if is_test else Vendor()
    made = vendor.agent(vendor.license())
    assert made.key_text.startswith("pm_test_ak_" if is_test else "pm_ak_")
    assert works(made.key_text) == [True]
    fresh = create_agent_key(tenant=vendor.tenant, agent_id=made.agent.id, actor=ACTOR, overlap=600)

    assert works(made.key_text, fresh.text) == [True, True]
    clock.advance(timedelta(seconds=600) - timedelta(microseconds=1))
    assert works(made.key_text, fresh.text) == [True, True]
    clock.advance(timedelta(microseconds=1))
    assert works(made.key_text, fresh.text) == [False, True]


def test_rotate__earlier_end_or_none__is_never_put_off(clock: FixedClock) -> None:
    vendor = Vendor()
    made = vendor.agent(vendor.license())
    soon = clock.now() + timedelta(seconds=10)
    update_agent_key(tenant=vendor.tenant, agent_id=made.agent.id, key_id=made.key.id, actor=ACTOR, expires_at=soon)
    create_agent_key(tenant=vendor.tenant, agent_id=made.agent.id, actor=ACTOR)
    create_agent_key(tenant=vendor.tenant, agent_id=made.agent.id, actor=ACTOR, overlap=600)
    ends = list(AgentKey.objects.order_by("id").values_list("expires_at", flat=True))
    assert ends == [soon, clock.now() + timedelta(seconds=600), None]


@pytest.mark.parametrize("overlap", [0, 600])
def test_rotate__many_at_once__one_key_stays_without_an_end_and_it_works(overlap: int) -> None:
    known_callers.forget_all()
    vendor = Vendor()
    made = vendor.agent(vendor.license())
    rotate = partial(create_agent_key, tenant=vendor.tenant, agent_id=made.agent.id, actor=ACTOR, overlap=overlap)

    rotated: list[Any] = at_once([rotate] * 8)

    endless = AgentKey.objects.filter(expires_at=None)
    assert endless.count() == 1
    texts = {each.key.id: each.text for each in rotated}
    assert len(texts) == 8
    assert works(texts[endless.get().id]) == [True]
    assert sum(works(made.key_text, *texts.values())) == (1 if overlap == 0 else 9)


def test_rotate__beside_a_revocation__the_revoked_key_stays_dead() -> None:
    known_callers.forget_all()
    vendor = Vendor()
    made = vendor.agent(vendor.license())
    who = {"tenant": vendor.tenant, "agent_id": made.agent.id, "actor": ACTOR}

    at_once(
        [partial(create_agent_key, **who, overlap=600) for _ in range(4)]
        + [partial(revoke_agent_key, **who, key_id=made.key.id) for _ in range(4)]
    )

    assert works(made.key_text) == [False]
    assert AgentKey.objects.filter(revoked_at=None, expires_at=None).count() == 1
    # Revoking again is the same as once.
    assert AuditEntry.objects.filter(action="agent_key.revoked").count() == 1
    assert OutboxEvent.objects.filter(type="key.revoked").count() == 1
