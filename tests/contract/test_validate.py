"""`POST /agent/v1/validate`, as the contract promises it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.ids import Prefix, encode_id
from licenses.services.license_states import revoke_license, suspend_license
from tenants.services.customers import suspend_customer
from tenants.services.workspaces import suspend_tenant
from tests.agent_door import AgentDoor, Vendor
from tests.factories import ACTOR, make_customer

pytestmark = pytest.mark.django_db


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


def test_validate__everything_in_order__says_so_with_exactly_these_members(vendor: Vendor) -> None:
    customer = make_customer(vendor.tenant, external_id="acme")
    license = vendor.license(
        {"limit": "1000000", "mode": "soft"},
        {"limit": "50", "period": "lifetime", "scope": "agent"},
        customer=customer,
        code="pro",
    )
    made = vendor.agent(license, name="indexer")
    asked = {"features": ["web_search"], "fingerprint": "host-7", "product": "researcher", "nonce": "n-1"}

    answer = AgentDoor(made.key_text).post("/validate", asked)

    now = datetime.now(UTC)
    month_end = (now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)
    body = answer.json
    quotas = body.pop("quotas")
    assert abs(datetime.fromisoformat(body.pop("server_time")) - now) < timedelta(seconds=30)
    assert [quota.pop("id")[:4] for quota in quotas] == ["quo_", "quo_"]
    assert (answer.status, body) == (
        200,
        {
            "valid": True,
            "code": "valid",
            "codes": [],
            "license": {
                "id": license.public_id,
                "status": "active",
                "customer": {"id": customer.public_id, "external_id": "acme"},
                "plan": "pro",
                "product": "researcher",
                "expires_at": None,
                "grace_until": None,
            },
            "agent": {"id": made.agent.public_id, "name": "indexer", "status": "active", "parent_id": None},
            "features": {"web_search": True, "max_tools": 20, "models": ["small", "large"]},
            "activation": None,
            "valid_until": None,
            "nonce": "n-1",
        },
    )
    assert quotas == [
        {
            "meter": "tokens",
            "filter": {},
            "scope": "agent",
            "mode": "hard",
            "period": "lifetime",
            "limit": "50",
            "top_ups": "0",
            "carried_over": "0",
            "used": "0",
            "held": "0",
            "remaining": "50",
            "state": "ok",
            "resets_at": None,
        },
        {
            "meter": "tokens",
            "filter": {},
            "scope": "license",
            "mode": "soft",
            "period": "month",
            "limit": "1000000",
            "top_ups": "0",
            "carried_over": "0",
            "used": "0",
            "held": "0",
            "remaining": "1000000",
            "state": "ok",
            "resets_at": month_end.isoformat().replace("+00:00", "Z"),
        },
    ]


def test_validate__empty_body__asks_for_nothing_in_particular(vendor: Vendor) -> None:
    answer = vendor.door().post("/validate")
    assert (answer.status, answer["valid"], answer["nonce"]) == (200, True, None)


@pytest.mark.parametrize(
    ("asked", "code", "more"),
    [
        ({"features": ["web_search", "flying"]}, "feature_not_granted", {"feature": "flying"}),
        ({"product": "writer"}, "product_mismatch", {"product": "researcher", "asked": "writer"}),
    ],
)
def test_validate__asked_for_what_is_not_granted__is_a_200_that_says_no(
    vendor: Vendor, asked: dict[str, Any], code: str, more: dict[str, Any]
) -> None:
    answer = vendor.door().post("/validate", asked)

    [reason] = answer["codes"]
    assert (answer.status, answer["valid"], answer["code"]) == (200, False, code)
    assert (reason["code"], reason["blocks"], reason["retryable"], reason["until"]) == (code, True, False, None)
    assert {name: reason[name] for name in more} == more
    assert reason["message"]
    assert answer["license"]["status"] == "active"


@pytest.mark.parametrize(
    ("starts", "expires", "code", "status"),
    [
        (timedelta(days=1), None, "license_not_started", "not_started"),
        (timedelta(days=-9), timedelta(days=-8), "license_expired", "expired"),
        (timedelta(days=-9), timedelta(days=-1), "grace_period", "grace"),
    ],
)
def test_validate__by_the_clock__says_where_the_license_stands(
    vendor: Vendor, starts: timedelta, expires: timedelta | None, code: str, status: str
) -> None:
    now = datetime.now(UTC)
    ends = None if expires is None else now + expires
    door = vendor.door(starts_at=now + starts, expires_at=ends, grace_days=7)

    answer = door.post("/validate", {})

    assert (answer["valid"], answer["code"], answer["license"]["status"]) == (code == "grace_period", code, status)
    assert [reason["code"] for reason in answer["codes"]] == [code]
    if ends is not None:
        grace_until = (ends + timedelta(days=7)).isoformat().replace("+00:00", "Z")
        assert answer["license"]["grace_until"] == grace_until


def test_validate__many_reasons__names_all_weightiest_first(vendor: Vendor) -> None:
    license = vendor.license()
    made = vendor.agent(license)
    suspend_license(tenant=vendor.tenant, license_id=license.id, actor=ACTOR)
    suspend_customer(tenant=vendor.tenant, customer_id=license.customer_id, actor=ACTOR)
    suspend_tenant(tenant_id=vendor.tenant.id, actor=ACTOR)
    revoke_license(tenant=vendor.tenant, license_id=license.id, actor=ACTOR)

    answer = AgentDoor(made.key_text).post("/validate", {"features": ["flying"]})

    assert answer["code"] == "license_revoked"
    assert [reason["code"] for reason in answer["codes"]] == [
        "license_revoked",
        "tenant_suspended",
        "customer_suspended",
        "feature_not_granted",
    ]


def test_validate__agent_narrower_than_its_license__shows_what_is_left(vendor: Vendor) -> None:
    parent = vendor.agent(vendor.license(), features=["max_tools"])
    child = vendor.agent(parent.agent.license, parent.agent)

    answer = AgentDoor(child.key_text).post("/validate", {"features": ["web_search"]})

    assert answer["features"] == {"web_search": False, "max_tools": 20, "models": []}
    assert (answer["code"], answer["codes"][0]["narrowed_by"]) == ("feature_not_granted", parent.agent.public_id)
    assert answer["agent"]["parent_id"] == parent.agent.public_id


@pytest.mark.parametrize(
    ("mode", "used", "code", "state"),
    [
        ("hard", "79", None, "ok"),
        ("hard", "80", "quota_near_limit", "near_limit"),
        ("hard", "100", "quota_exceeded", "exceeded"),
        ("hard", "130", "quota_exceeded", "exceeded"),
        ("soft", "100", "quota_near_limit", "near_limit"),
        ("soft", "101", "quota_exceeded", "overage"),
    ],
)
def test_validate__quota_used__warns_and_leaves_the_license_valid(
    vendor: Vendor, mode: str, used: str, code: str | None, state: str
) -> None:
    door = vendor.door({"limit": "100", "mode": mode})
    assert door.post("/usage", {"id": "u", "meter": "tokens", "quantity": used}).status == 200

    answer = door.post("/validate", {})

    [quota] = answer["quotas"]
    assert (answer["valid"], answer["code"], quota["state"], quota["used"]) == (True, "valid", state, used)
    assert quota["remaining"] == str(max(0, 100 - int(used)))
    assert [(each["code"], each["blocks"], each["quota"]) for each in answer["codes"]] == (
        [(code, False, quota["id"])] if code else []
    )


def test_validate__publishable_key_with_license_key__needs_no_agent(vendor: Vendor) -> None:
    from tests.factories import issue, make_plan

    issued = issue(make_plan(vendor.product, grants=[{"feature": "web_search", "value": True}]))
    door = AgentDoor(vendor.publishable_key())
    typed = (issued.license_key or "").lower().replace("0", "o")

    answer = door.post("/validate", {"license_key": typed, "features": ["web_search"]})

    assert (answer.status, answer["valid"], answer["agent"]) == (200, True, None)
    assert answer["license"]["id"] == issued.license.public_id
    assert door.post("/validate", {"license_key": typed}).status == 200


def test_validate__license_keys_that_are_none_of_ours__are_one_404(vendor: Vendor) -> None:
    from tests.factories import issue, make_plan

    other = Vendor()
    foreign = issue(make_plan(other.product)).license_key
    door = AgentDoor(vendor.publishable_key())
    answers = [door.post("/validate", {"license_key": key}) for key in (foreign, "", "nonsense", "7" * 25)]

    bodies = [{**answer.json, "request_id": ""} for answer in answers]
    assert [answer.status for answer in answers] == [404] * 4
    assert all(body == bodies[0] and body["code"] == "license_key_unknown" for body in bodies)


def test_validate__license_key_beside_the_wrong_key__is_422(vendor: Vendor) -> None:
    missing = AgentDoor(vendor.publishable_key()).post("/validate", {})
    needless = vendor.door().post("/validate", {"license_key": "7" * 25})
    assert [(each.status, each["errors"][0]["field"], each["errors"][0]["code"]) for each in (missing, needless)] == [
        (422, "license_key", "required"),
        (422, "license_key", "not_with_this_key"),
    ]


def test_validate__what_a_new_quota_finds__is_what_its_period_has_seen(vendor: Vendor) -> None:
    license = vendor.license()
    door = AgentDoor(vendor.agent(license).key_text)
    door.post("/usage", {"id": "before", "meter": "tokens", "quantity": "7"})
    vendor.quota(on={"license": license.public_id}, limit="10")
    from agent_api.use_cases.known_callers import forget_all

    forget_all()
    assert [door.post("/validate", {})["quotas"][0]["used"] for _ in range(2)] == ["7", "7"]


def test_validate__hold_that_has_run_out__is_not_shown_as_held(vendor: Vendor) -> None:
    from metering.models import Hold, HoldLine

    door = vendor.door({"limit": "100"})
    held = door.post("/authorize", {"mode": "hold", "usage": [{"meter": "tokens", "quantity": "60"}]})
    assert door.post("/validate", {})["quotas"][0]["held"] == "60"
    past = datetime.now(UTC) - timedelta(seconds=1)
    HoldLine.objects.update(expires_at=past)
    Hold.objects.update(expires_at=past)

    assert door.post("/validate", {})["quotas"][0]["held"] == "0"
    assert door.get("/holds")["data"] == []
    assert held["hold"]["id"] == encode_id(Prefix.HOLD, Hold.objects.get().id)
