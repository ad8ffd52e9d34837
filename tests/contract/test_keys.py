"""Who gets in at the agents' door, and who does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent_api.use_cases import known_callers
from common.clock import FixedClock, real_clock
from common.crypto import KeyKind, mint_key
from licenses.models import AgentKey
from licenses.services.agent_keys import create_agent_key, revoke_agent_key
from licenses.services.agent_states import archive_agent, resume_agent, revoke_agent, suspend_agent
from metering.models import UsageEvent
from tenants.models import ApiKey
from tenants.selectors import api_keys
from tenants.services.api_keys import revoke_api_key, update_api_key
from tenants.services.key_use import forget_noted, write_seen
from tests.agent_door import AgentDoor, Answer, Vendor
from tests.factories import ACTOR

pytestmark = pytest.mark.django_db

ROUTES = [
    ("POST", "/validate"),
    ("POST", "/authorize"),
    ("POST", "/usage"),
    ("GET", "/usage"),
    ("GET", "/holds"),
    ("POST", "/holds/hld_01h455vb4pex5vsknk084sn02q/settle"),
    ("POST", "/holds/hld_01h455vb4pex5vsknk084sn02q/release"),
    ("POST", "/holds/hld_01h455vb4pex5vsknk084sn02q/extend"),
    ("POST", "/activations"),
    ("POST", "/activations/act_01h455vb4pex5vsknk084sn02q/heartbeat"),
    ("DELETE", "/activations/act_01h455vb4pex5vsknk084sn02q"),
    ("GET", "/self"),
    ("GET", "/quotas"),
]


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


def same_401(answers: list[Answer]) -> bool:
    bodies = [{**answer.json, "request_id": ""} for answer in answers]
    fields = [answer.headers.get("WWW-Authenticate") for answer in answers]
    return {answer.status for answer in answers} == {401} and all(
        body == bodies[0] and field == "Bearer" for body, field in zip(bodies, fields, strict=True)
    )


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route__without_a_living_key__is_one_and_the_same_401(vendor: Vendor, method: str, path: str) -> None:
    key = vendor.agent(vendor.license()).key_text
    other = vendor.agent(vendor.license())
    AgentKey.objects.filter(agent=other.agent).update(expires_at=datetime.now(UTC))
    dead = [
        "Bearer",
        "Bearer ",
        f"Basic {key}",
        key,
        f"Bearer {key}, Bearer {key}",
        f"Bearer {key} {key}",
        f"Bearer {key[:-1]}",
        f"Bearer {key[:-1]}{'a' if key[-1] != 'a' else 'b'}",
        f"Bearer {key.swapcase()}",
        f"Bearer pm_test_{key.removeprefix('pm_')}",
        f"Bearer {mint_key(KeyKind.AGENT, test=False).text}",
        f"Bearer {mint_key(KeyKind.SECRET, test=False).text}",
        f"Bearer {mint_key(KeyKind.PUBLISHABLE, test=False).text}",
        f"Bearer {other.key_text}",
        "Bearer " + "x" * 5000,
    ]
    door = AgentDoor()
    answers = [door.call(method, path, headers={"Authorization": value}, raw=b"{") for value in dead]
    answers.append(door.call(method, path))
    assert same_401(answers)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route__with_a_living_key_of_another_kind__is_403(vendor: Vendor, method: str, path: str) -> None:
    published = path == "/validate" or path.startswith("/activations")
    keys = [vendor.secret_key()] + ([] if published else [vendor.publishable_key()])
    for key in keys:
        for raw in (b"", b"{"):
            answer = AgentDoor(key).call(method, path, raw=raw)
            assert (answer.status, answer["code"]) == (403, "wrong_key_kind")


def test_validate__with_a_publishable_key_and_a_broken_body__is_400_for_the_living_only(vendor: Vendor) -> None:
    key = vendor.publishable_key()
    assert AgentDoor(key).post("/validate", raw=b"{").status == 400
    revoke_api_key(tenant=vendor.tenant, api_key_id=ApiKey.objects.get(kind="publishable").id, actor=ACTOR)
    assert AgentDoor(key).post("/validate", raw=b"{").status == 401


@pytest.fixture
def told(django_capture_on_commit_callbacks: Any) -> Any:
    """Do something, and tell Valkey what the commit would have told it."""

    def do(service: Any, **fields: Any) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            service(actor=ACTOR, **fields)

    return do


def test_key__revoked_while_known__is_dead_at_once_and_its_sibling_lives(vendor: Vendor, told: Any) -> None:
    made = vendor.agent(vendor.license())
    second = create_agent_key(tenant=vendor.tenant, agent_id=made.agent.id, actor=ACTOR)
    first_door, second_door = AgentDoor(made.key_text), AgentDoor(second.text)
    assert [first_door.post("/validate").status, second_door.post("/validate").status] == [200, 200]
    told(revoke_agent_key, tenant=vendor.tenant, agent_id=made.agent.id, key_id=made.key.id)
    answers = [first_door.call(method, path, raw=b"{") for method, path in ROUTES]
    assert same_401(answers)
    assert second_door.post("/validate").status == 200


def test_key__expired_while_known__is_dead_by_the_clock(vendor: Vendor) -> None:
    made = vendor.agent(vendor.license())
    door = AgentDoor(made.key_text)
    AgentKey.objects.filter(agent=made.agent).update(expires_at=datetime.now(UTC) + timedelta(seconds=0.6))
    assert door.post("/validate").status == 200
    import time

    time.sleep(0.7)
    assert door.post("/validate").status == 401


@pytest.mark.parametrize("end", [revoke_agent, archive_agent])
def test_agent__revoked_or_archived_while_known__takes_its_tree_along(vendor: Vendor, told: Any, end: Any) -> None:
    license = vendor.license({"limit": "100"})
    parent = vendor.agent(license)
    child = vendor.agent(license, parent.agent)
    grandchild = vendor.agent(license, child.agent)
    beside = vendor.agent(license, parent.agent)
    doors = [AgentDoor(each.key_text) for each in (child, grandchild)]
    others = [AgentDoor(each.key_text) for each in (parent, beside)]
    assert {door.post("/validate")["valid"] for door in (*doors, *others)} == {True}
    if end is archive_agent:
        told(revoke_agent, tenant=vendor.tenant, agent_id=child.agent.id)
    told(end, tenant=vendor.tenant, agent_id=child.agent.id)
    assert same_401([door.post("/usage", {"id": "a", "meter": "tokens", "quantity": "1"}) for door in doors])
    assert {door.post("/validate")["valid"] for door in others} == {True}
    assert UsageEvent.objects.count() == 0


def test_agent__suspended_and_resumed_while_known__is_refused_and_let_in_again(vendor: Vendor, told: Any) -> None:
    parent = vendor.agent(vendor.license())
    child = vendor.agent(parent.agent.license, parent.agent)
    doors = [AgentDoor(parent.key_text), AgentDoor(child.key_text)]
    assert [door.post("/authorize")["code"] for door in doors] == ["allowed", "allowed"]
    told(suspend_agent, tenant=vendor.tenant, agent_id=parent.agent.id)
    assert [door.post("/authorize")["code"] for door in doors] == ["agent_suspended", "parent_agent_inactive"]
    told(resume_agent, tenant=vendor.tenant, agent_id=parent.agent.id)
    assert [door.post("/authorize")["code"] for door in doors] == ["allowed", "allowed"]


def test_publishable_key__revoked_while_known__is_dead_at_once(vendor: Vendor, told: Any) -> None:
    from tests.factories import issue, make_plan

    license_key = issue(make_plan(vendor.product)).license_key
    door = AgentDoor(vendor.publishable_key())
    assert door.post("/validate", {"license_key": license_key}).status == 200
    api_key = ApiKey.objects.get(kind="publishable")
    told(revoke_api_key, tenant=vendor.tenant, api_key_id=api_key.id)
    assert door.post("/validate", {"license_key": license_key}).status == 401


def test_publishable_key__its_end_is_put_off_while_known__lives_on(
    vendor: Vendor, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.factories import issue, make_plan

    body = {"license_key": issue(make_plan(vendor.product)).license_key}
    end = real_clock().now() + timedelta(hours=1)
    door = AgentDoor(vendor.publishable_key(expires_at=end))
    assert door.post("/validate", body).status == 200
    monkeypatch.setattr(known_callers, "real_clock", lambda: FixedClock(end))
    monkeypatch.setattr(api_keys, "real_clock", lambda: FixedClock(end))
    assert door.post("/validate", body).status == 401
    later = end + timedelta(hours=1)
    told(update_api_key, tenant=vendor.tenant, api_key_id=ApiKey.objects.get().id, expires_at=later)
    assert door.post("/validate", body).status == 200


def test_license_key__rotated_while_known__is_unknown_at_once(
    vendor: Vendor, django_capture_on_commit_callbacks: Any
) -> None:
    from licenses.services.issuing import rotate_license_key
    from tests.factories import issue, make_plan

    issued = issue(make_plan(vendor.product))
    door = AgentDoor(vendor.publishable_key())
    assert door.post("/validate", {"license_key": issued.license_key}).status == 200
    with django_capture_on_commit_callbacks(execute=True):
        fresh = rotate_license_key(tenant=vendor.tenant, license_id=issued.license.id, actor=ACTOR)
    answers = [door.post("/validate", {"license_key": key}) for key in (issued.license_key, fresh.license_key)]
    assert [answer.status for answer in answers] == [404, 200]


def test_key__used__says_when_once_that_is_written_beside_the_calls(vendor: Vendor) -> None:
    from tests.factories import issue, make_plan

    forget_noted()
    write_seen()
    agent_key = vendor.agent(vendor.license()).key_text
    idle = vendor.agent(vendor.license()).agent
    license_key = issue(make_plan(vendor.product)).license_key
    began = real_clock().now()

    assert AgentDoor(agent_key).post("/validate", {}).status == 200
    assert AgentDoor(vendor.publishable_key()).post("/validate", {"license_key": license_key}).status == 200
    assert not AgentKey.objects.filter(last_used_at__isnull=False).exists()
    assert write_seen() == 2
    assert AgentDoor(agent_key).post("/validate", {}).status == 200
    assert write_seen() == 0

    [used] = AgentKey.objects.exclude(agent=idle)
    assert used.last_used_at is not None
    assert began <= used.last_used_at <= real_clock().now()
    assert AgentKey.objects.get(agent=idle).last_used_at is None
    assert ApiKey.objects.get(kind="publishable").last_used_at is not None
