from datetime import timedelta

import pytest

from common.clock import real_clock
from common.errors import Conflict, Forbidden, Invalid, NotFound
from licenses.models import Agent, AgentKey
from licenses.services.agent_keys import create_agent_key, revoke_agent_key
from licenses.services.agents import (
    MAX_DEPTH,
    archive_agent,
    create_agent,
    resume_agent,
    revoke_agent,
    suspend_agent,
    update_agent,
)
from licenses.services.issuing import update_license
from licenses.services.license_states import revoke_license, suspend_license
from licenses.services.plans import update_plan
from tests.factories import (
    ACTOR,
    make_agent,
    make_feature,
    make_license,
    make_plan,
    make_shop,
    make_test_workspace,
    make_workspace,
)
from tests.parallel import at_once
from tests.trail import actions, epoch, event_types, events, last_entry

pytestmark = pytest.mark.django_db


def names_of(shop, agent=None):
    return {"tenant": shop.tenant, "agent_id": (agent or shop.agent).id, "actor": ACTOR}


def test_create_agent__with_key__stored_told_and_its_text_nowhere():
    shop = make_shop()
    created = make_agent(shop.license, name="indexer", metadata={"region": "eu"}, kind="fleet")
    assert created.key_text.startswith("pm_ak_")
    assert (created.agent.path, created.agent.parent, created.agent.kind) == ([created.agent.id], None, "fleet")
    assert AgentKey.objects.get(pk=created.key.pk).agent == created.agent
    assert last_entry(shop.tenant).action == "agent.created"
    assert created.key_text[-38:] not in str(last_entry(shop.tenant).changes)
    assert events(shop.tenant, "agent.")[-1] == (
        "agent.created",
        {
            "agent": created.agent.public_id,
            "license": shop.license.public_id,
            "customer": shop.customer.public_id,
            "status": "active",
            "reason": "",
        },
    )


def test_create_agent__test_workspace__its_key_says_so():
    assert make_shop(tenant=make_test_workspace()).agent_key.startswith("pm_test_ak_")


def test_create_agent__licence_expired_not_begun_or_suspended__allowed__revoked__not():
    shop = make_shop()
    now = real_clock().now()
    for license in (
        make_license(shop.plan, expires_at=now - timedelta(days=1)),
        make_license(shop.plan, starts_at=now + timedelta(days=1)),
    ):
        assert make_agent(license).agent.license_id == license.id
    suspend_license(tenant=shop.tenant, license_id=shop.license.id, actor=ACTOR)
    assert make_agent(shop.license).agent.status == "active"
    revoke_license(tenant=shop.tenant, license_id=shop.license.id, actor=ACTOR)
    count = Agent.objects.count()
    with pytest.raises(Conflict) as caught:
        make_agent(shop.license)
    assert caught.value.code == "license_revoked"
    assert (Agent.objects.count(), AgentKey.objects.count()) == (count, count)


def test_create_agent__tree__paths_run_from_the_top_and_end_at_the_limit():
    shop = make_shop()
    chain = [shop.agent]
    for _ in range(MAX_DEPTH - 1):
        chain.append(make_agent(shop.license, parent_id=chain[-1].public_id).agent)
        assert chain[-1].path == [agent.id for agent in chain]
    with pytest.raises(Invalid) as caught:
        make_agent(shop.license, parent_id=chain[-1])
    assert (caught.value.errors[0]["field"], caught.value.errors[0]["code"]) == ("parent_id", "too_deep")
    assert make_agent(shop.license, parent_id=chain[-2].id).agent.path == [agent.id for agent in chain[:-1]] + [
        Agent.objects.order_by("-id")[0].id
    ]


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"name": ""}, "name", "blank"),
        ({"kind": "swarm"}, "kind", "invalid"),
        ({"features": ["unknown"]}, "features.0", "not_found"),
        ({"features": "web_search"}, "features", "invalid"),
        ({"features": ["web_search", "web_search"]}, "features.1", "duplicate"),
        ({"rate_limits": [{"limit": 1, "window": 1, "burst": 0}]}, "rate_limits.0.burst", "invalid"),
        ({"expires_at": real_clock().now().replace(tzinfo=None)}, "expires_at", "invalid"),
        ({"parent_id": "agt_01h455vb4pex5vsknk084sn02q"}, "parent_id", "not_found"),
        ({"license": "lic_01h455vb4pex5vsknk084sn02q"}, "license", "not_found"),
        ({"metadata": []}, "metadata", "invalid"),
    ],
)
def test_create_agent__bad_field__names_it_and_writes_nothing(fields, field, code):
    shop = make_shop()
    make_feature(shop.product, code="web_search")
    with pytest.raises(Invalid) as caught:
        make_agent(shop.license, **fields) if "license" not in fields else create_agent(
            tenant=shop.tenant, actor=ACTOR, name="x", **fields
        )
    assert [(error["field"], error["code"]) for error in caught.value.errors] == [(field, code)]
    assert Agent.objects.count() == AgentKey.objects.count() == 1
    assert event_types(shop.tenant, "agent.") == ["agent.created"]


def test_create_agent__parent_of_another_licence_or_workspace__refused():
    shop, stranger = make_shop(), make_shop()
    sibling = make_agent(make_license(shop.plan)).agent
    for parent, code in ((sibling, "other_license"), (stranger.agent, "not_found")):
        with pytest.raises(Invalid) as caught:
            make_agent(shop.license, parent_id=parent.public_id)
        assert (caught.value.errors[0]["field"], caught.value.errors[0]["code"]) == ("parent_id", code)


def test_create_agent__features__by_code_or_id_and_none_at_all():
    shop = make_shop()
    search = make_feature(shop.product, code="web_search")
    make_feature(shop.product, code="email")
    assert make_agent(shop.license, features=["email", search.public_id]).agent.features == ["email", "web_search"]
    assert make_agent(shop.license, features=[]).agent.features == []
    assert make_agent(shop.license).agent.features is None


def test_agent_limit__who_counts__living_and_suspended_ones_only():
    shop = make_shop(plan={"agent_limit": 3})
    revoked = make_agent(shop.license).agent
    suspended = make_agent(shop.license).agent
    suspend_agent(**names_of(shop, suspended))
    with pytest.raises(Forbidden) as caught:
        make_agent(shop.license)
    assert (caught.value.status, caught.value.code) == (403, "agent_limit_reached")
    assert caught.value.extra == {"limit": 3, "current": 3}
    assert Agent.objects.count() == 3
    revoke_agent(**names_of(shop, revoked))
    now = real_clock().now()
    make_agent(shop.license, expires_at=now - timedelta(seconds=1))
    last = make_agent(shop.license, expires_at=now + timedelta(hours=1)).agent
    with pytest.raises(Forbidden):
        make_agent(shop.license)
    make_agent(shop.license, expires_at=now - timedelta(seconds=1))
    archive_agent(**names_of(shop, last))
    make_agent(shop.license)


def test_agent_limit__none_zero_and_add_ons():
    shop = make_shop()
    update_plan(tenant=shop.tenant, plan_id=shop.plan.id, actor=ACTOR, agent_limit=0)
    with pytest.raises(Forbidden) as caught:
        make_agent(shop.license)
    assert caught.value.extra == {"limit": 0, "current": 1}
    extra = make_plan(shop.product, agent_limit=2)
    update_license(tenant=shop.tenant, license_id=shop.license.id, actor=ACTOR, add_ons=[extra])
    make_agent(shop.license)
    with pytest.raises(Forbidden) as caught:
        make_agent(shop.license)
    assert caught.value.extra == {"limit": 2, "current": 2}


def test_agent_limit__expired_agent_is_put_off__must_fit():
    shop = make_shop(plan={"agent_limit": 1})
    now = real_clock().now()
    expired = make_agent(shop.license, expires_at=now - timedelta(days=1)).agent
    with pytest.raises(Forbidden):
        update_agent(**names_of(shop, expired), expires_at=None)
    expired.refresh_from_db()
    assert expired.expires_at == now - timedelta(days=1)
    assert update_agent(**names_of(shop), expires_at=now + timedelta(days=1)).expires_at == now + timedelta(days=1)
    revoke_agent(**names_of(shop))
    assert update_agent(**names_of(shop, expired), expires_at=None).expires_at is None


def test_agent_limit__expired_parent_is_put_off__its_children_come_back_and_must_fit_too():
    shop = make_shop(plan={"agent_limit": 4})
    now = real_clock().now()
    parent = make_agent(shop.license).agent
    for ends in (None, now + timedelta(days=1)):
        make_agent(shop.license, parent_id=parent, expires_at=ends)
    update_agent(**names_of(shop, parent), expires_at=now - timedelta(days=1))
    newcomer = make_agent(shop.license).agent
    with pytest.raises(Forbidden) as refused:
        update_agent(**names_of(shop, parent), expires_at=None)
    assert (refused.value.code, refused.value.extra) == ("agent_limit_reached", {"limit": 4, "current": 2})
    revoke_agent(**names_of(shop, newcomer))
    assert update_agent(**names_of(shop, parent), expires_at=None).expires_at is None


@pytest.mark.django_db(transaction=True)
def test_agent_limit__twenty_at_once__never_one_too_many():
    shop = make_shop(plan={"agent_limit": 6})
    answers = at_once([lambda: make_agent(shop.license)] * 20)
    refused = [answer for answer in answers if isinstance(answer, Exception)]
    assert {type(answer) for answer in refused} == {Forbidden}
    assert (len(refused), Agent.objects.count(), AgentKey.objects.count()) == (15, 6, 6)
    assert {(answer.extra["limit"], answer.extra["current"]) for answer in refused} == {(6, 6)}


def test_update_agent__fields__changed_and_felt__licence_and_parent_stay():
    shop = make_shop()
    child = make_agent(shop.license, parent_id=shop.agent).agent
    names = names_of(shop, child)
    changed = update_agent(**names, name="renamed", rate_limits=[{"limit": 1, "window": 1}], features=[])
    assert (changed.name, changed.features) == ("renamed", [])
    assert (epoch(shop.tenant, child.id), epoch(shop.tenant, shop.agent.id)) == (1, 0)
    update_agent(**names, license=shop.license.public_id, parent_id=shop.agent.public_id)
    assert epoch(shop.tenant, child.id) == 1
    for fields in ({"license": make_license(shop.plan)}, {"parent_id": None}, {"parent_id": child}):
        with pytest.raises(Invalid) as caught:
            update_agent(**names, **fields)
        assert caught.value.errors[0]["code"] == "immutable"


def test_suspend_agent__and_resume__told_once_each():
    shop = make_shop()
    for change in (suspend_agent, suspend_agent, resume_agent, resume_agent):
        agent = change(**names_of(shop), reason="loops")
    assert (agent.status, agent.status_reason, agent.suspended_at) == ("active", "", None)
    assert event_types(shop.tenant, "agent.") == ["agent.created", "agent.suspended", "agent.resumed"]
    assert actions(shop.tenant, "agent.") == ["agent.created", "agent.suspended", "agent.resumed"]
    assert epoch(shop.tenant, shop.agent.id) == 2


def test_revoke_agent__with_children__the_tree_falls_and_the_rest_stands():
    shop = make_shop()
    child = make_agent(shop.license, parent_id=shop.agent).agent
    grandchild = make_agent(shop.license, parent_id=child).agent
    bystander = make_agent(shop.license).agent
    revoke_agent(**names_of(shop, grandchild), reason="first")
    for _ in range(2):
        assert revoke_agent(**names_of(shop), reason="runaway").status_reason == "runaway"
    status = {agent.id: (agent.status, agent.status_reason) for agent in Agent.objects.all()}
    assert status == {
        shop.agent.id: ("revoked", "runaway"),
        child.id: ("revoked", "An agent above it was revoked."),
        grandchild.id: ("revoked", "first"),
        bystander.id: ("active", ""),
    }
    told = [data["agent"] for type_, data in events(shop.tenant, "agent.revoked")]
    assert sorted(told) == sorted([grandchild.public_id, child.public_id, shop.agent.public_id])
    assert len(actions(shop.tenant, "agent.revoked")) == 3
    assert epoch(shop.tenant, shop.agent.id) == 1


def test_revoked_agent__every_change__conflict_or_nothing_new():
    shop = make_shop()
    revoke_agent(**names_of(shop))
    for refused in (
        lambda: suspend_agent(**names_of(shop)),
        lambda: resume_agent(**names_of(shop)),
        lambda: update_agent(**names_of(shop), name="x"),
        lambda: create_agent_key(**names_of(shop)),
        lambda: make_agent(shop.license, parent_id=shop.agent),
    ):
        with pytest.raises(Conflict) as caught:
            refused()
        assert caught.value.code == "agent_revoked"
    assert archive_agent(**names_of(shop)).archived_at is not None
    assert actions(shop.tenant, "agent.") == ["agent.created", "agent.revoked", "agent.archived"]


@pytest.mark.django_db(transaction=True)
def test_revoke_agent__while_children_are_made__none_is_left_alive():
    shop = make_shop()
    child = make_agent(shop.license, parent_id=shop.agent).agent
    calls = [lambda: make_agent(shop.license, parent_id=child.id)] * 8
    at_once([*calls, lambda: revoke_agent(**names_of(shop))])
    assert set(Agent.objects.values_list("status", flat=True)) == {"revoked"}


def test_agent__of_another_workspace__not_found():
    shop, stranger = make_shop(), make_workspace()
    for change in (suspend_agent, resume_agent, revoke_agent, archive_agent, update_agent, create_agent_key):
        with pytest.raises(NotFound):
            change(tenant=stranger, agent_id=shop.agent.id, actor=ACTOR)
    key = shop.agent.keys.get()
    with pytest.raises(NotFound):
        revoke_agent_key(tenant=stranger, agent_id=shop.agent.id, key_id=key.id, actor=ACTOR)
    other = make_agent(shop.license).agent
    with pytest.raises(NotFound):
        revoke_agent_key(tenant=shop.tenant, agent_id=other.id, key_id=key.id, actor=ACTOR)
    assert AgentKey.objects.filter(revoked_at__isnull=False).count() == 0


def test_create_agent_key__overlap__ends_all_earlier_ones_unless_they_end_sooner():
    shop = make_shop()
    first = shop.agent.keys.get()
    now = real_clock().now()
    soon = create_agent_key(**names_of(shop), expires_at=now + timedelta(minutes=1)).key
    first.refresh_from_db()
    assert first.expires_at is None
    created = create_agent_key(**names_of(shop), overlap=3600)
    first.refresh_from_db()
    soon.refresh_from_db()
    assert timedelta(0) <= first.expires_at - now - timedelta(hours=1) < timedelta(minutes=1)
    assert soon.expires_at == now + timedelta(minutes=1)
    assert (created.key.expires_at, created.text[:6]) == (None, "pm_ak_")
    assert [epoch(shop.tenant, key.id) for key in (first, soon, created.key)] == [1, 0, 0]
    create_agent_key(**names_of(shop), overlap=0)
    first.refresh_from_db()
    assert first.expires_at <= real_clock().now()
    assert epoch(shop.tenant, shop.agent.id) == 0


@pytest.mark.parametrize("overlap", [-1, 90 * 86_400 + 1, True, "60"])
def test_create_agent_key__bad_overlap__refused_and_nothing_changes(overlap):
    shop = make_shop()
    with pytest.raises(Invalid) as caught:
        create_agent_key(**names_of(shop), overlap=overlap)
    assert caught.value.errors[0]["field"] == "overlap"
    assert shop.agent.keys.get().expires_at is None


def test_revoke_agent_key__twice__told_once():
    shop = make_shop()
    key = shop.agent.keys.get()
    for _ in range(2):
        revoked = revoke_agent_key(**names_of(shop), key_id=key.id, reason="leaked")
    assert revoked.revoked_at is not None
    assert actions(shop.tenant, "agent_key") == ["agent_key.revoked"]
    [(_, data)] = events(shop.tenant, "key.revoked")
    assert (data["key"], data["agent"], data["reason"]) == (key.public_id, shop.agent.public_id, "leaked")
    assert epoch(shop.tenant, key.id) == 1
