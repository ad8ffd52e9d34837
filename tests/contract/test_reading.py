"""`self`, `quotas` and the query of `usage`, as the contract promises them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from licenses.services.license_states import revoke_license
from tests.agent_door import AgentDoor, Vendor
from tests.factories import ACTOR

pytestmark = pytest.mark.django_db


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


def test_self__says_everything_that_holds(vendor: Vendor) -> None:
    license = vendor.license(
        {"limit": "100"}, rate_limits=[{"level": "license", "limit": 60, "window": 60, "burst": 5}]
    )
    made = vendor.agent(license, name="indexer")

    answer = AgentDoor(made.key_text).get("/self")

    body = answer.json
    [quota] = body.pop("quotas")
    assert (answer.status, quota["meter"], quota["remaining"]) == (200, "tokens", "100")
    assert datetime.fromisoformat(body.pop("server_time")) - datetime.now(UTC) < timedelta(seconds=30)
    customer = {"id": license.customer.public_id, "external_id": license.customer.external_id}
    assert body == {
        "agent": {"id": made.agent.public_id, "name": "indexer", "status": "active", "parent_id": None},
        "license": {
            "id": license.public_id,
            "status": "active",
            "customer": customer,
            "plan": body["license"]["plan"],
            "product": "researcher",
            "expires_at": None,
            "grace_until": None,
        },
        "customer": customer,
        "tenant": {
            "id": vendor.tenant.public_id,
            "slug": vendor.tenant.slug,
            "status": "active",
            "mode": "live",
            "timezone": "UTC",
        },
        "valid": True,
        "code": "valid",
        "codes": [],
        "features": {"web_search": True, "max_tools": 20, "models": ["small", "large"]},
        "rate_limits": [
            {"level": "license", "limit": 60, "window": 60, "burst": 5, "remaining": 4, "reset_seconds": 1}
        ],
        "key_expires_at": None,
        "valid_until": None,
    }


def test_self__revoked_license__still_says_who_it_is(vendor: Vendor) -> None:
    license = vendor.license()
    door = AgentDoor(vendor.agent(license).key_text)
    revoke_license(tenant=vendor.tenant, license_id=license.id, actor=ACTOR)
    answer = door.get("/self")
    assert (answer.status, answer["valid"], answer["code"], answer["license"]["status"]) == (
        200,
        False,
        "license_revoked",
        "revoked",
    )


def test_quotas__come_in_one_order__agent_parents_license_customer_tenant_then_meter(vendor: Vendor) -> None:
    license = vendor.license({"limit": "5"}, {"limit": "6", "meter": "calls"})
    root = vendor.agent(license)
    child = vendor.agent(license, root.agent)
    for number, on in enumerate(
        (
            {"tenant": True},
            {"customer": license.customer.public_id},
            {"agent": root.agent.public_id},
            {"agent": child.agent.public_id},
        )
    ):
        vendor.quota(on=on, limit=str(number))

    answer = AgentDoor(child.key_text).get("/quotas")

    assert answer["next_cursor"] is None
    assert [(quota["scope"], quota["meter"], quota["limit"]) for quota in answer["data"]] == [
        ("agent", "tokens", "3"),
        ("agent", "tokens", "2"),
        ("license", "calls", "6"),
        ("license", "tokens", "5"),
        ("customer", "tokens", "1"),
        ("tenant", "tokens", "0"),
    ]


def test_quotas__of_somebody_without_any__are_an_empty_list(vendor: Vendor) -> None:
    assert vendor.door().get("/quotas").json == {"data": [], "next_cursor": None}


def test_usage_query__own_usage_and_that_below__never_a_siblings(vendor: Vendor) -> None:
    license = vendor.license()
    root, sibling = vendor.agent(license), vendor.agent(license)
    child = vendor.agent(license, root.agent)
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    for made, quantity in ((root, "1"), (child, "20"), (sibling, "300")):
        events: list[dict[str, Any]] = [
            {
                "id": f"{made.agent.id}-{number}",
                "meter": "tokens",
                "quantity": quantity,
                "occurred_at": (hour + timedelta(hours=number)).isoformat(),
                "dimensions": {"model": "large"},
            }
            for number in range(2)
        ]
        assert AgentDoor(made.key_text).post("/usage", {"events": events})["recorded"] == 2
    start, end = (moment.isoformat().replace("+00:00", "Z") for moment in (hour, hour + timedelta(hours=2)))

    door = AgentDoor(root.key_text)
    by_hour = door.get(f"/usage?meter=tokens&from={start}&to={end}&window=hour")
    grouped = door.get(f"/usage?meter={vendor.tokens.public_id}&from={start}&group_by=agent,model")

    middle = (hour + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    assert by_hour.json == {
        "data": [
            {"start": start, "end": middle, "group": {}, "value": "21"},
            {"start": middle, "end": end, "group": {}, "value": "21"},
        ],
        "total": "42",
        "next_cursor": None,
    }
    assert {(row["group"]["agent"], row["group"]["model"], row["value"]) for row in grouped["data"]} == {
        (root.agent.public_id, "large", "2"),
        (child.agent.public_id, "large", "40"),
    }
    assert AgentDoor(child.key_text).get(f"/usage?meter=tokens&from={start}")["total"] == "40"
