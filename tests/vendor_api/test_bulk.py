"""Many licences, agents and keys in one call: each has its own result."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from common.crypto import license_key_digests, normalize_license_key, parse_key
from common.ids import Prefix, encode_id
from licenses.models import Agent, AgentKey, License
from licenses.selectors.access import load_by_agent_key
from tenants.models import Customer, IdempotencyRecord
from tests.factories import make_workspace
from tests.trail import actions, event_types
from tests.vendor_api.door import Answer, Door
from tests.vendor_api.shop import Shop


def _results(answer: Answer) -> list[tuple[int, str | None]]:
    assert answer.status == 200, answer
    return [(each["status"], each.get("code")) for each in answer["data"]]


def test_licenses__good_and_bad_items__each_its_own_result_in_its_place(shop: Shop) -> None:
    shop.door.made("/customers", {"external_id": "gone"})
    shop.door.delete("/customers/gone")
    before = License.objects.for_tenant(shop.door.tenant).count()

    answer = shop.door.post(
        "/licenses",
        {
            "items": [
                {"customer": "acme", "plan": "pro", "grants": [{"feature": "max_tools", "value": 99}]},
                {"customer": {"external_id": "new-1"}, "plan": "gold"},
                {"customer": {"external_id": "new-2", "name": "Two"}, "plan": "pro", "kind": "signed"},
                {"customer": "nobody", "plan": "pro"},
                {"plan": "pro", "kind": "paper", "colour": "red"},
                {"customer": shop.customer["id"], "plan": shop.plan["id"], "metadata": {"row": 6}},
                "license",
                {"customer": "gone", "plan": "pro"},
                {
                    "customer": "acme",
                    "plan": "pro",
                    "starts_at": "2027-01-02T00:00:00Z",
                    "expires_at": "2027-01-01T00:00:00Z",
                },
            ]
        },
    )

    assert _results(answer) == [
        (201, None),
        (422, "invalid"),
        (201, None),
        (422, "invalid"),
        (422, "invalid"),
        (201, None),
        (422, "invalid"),
        (409, "customer_archived"),
        (422, "invalid"),
    ]
    assert answer["counts"] == {"succeeded": 3, "failed": 6}
    faults = [[(error["field"], error["code"]) for error in each.get("errors", [])] for each in answer["data"]]
    assert faults[1] == [("plan", "not_found")]
    assert faults[3] == [("customer", "not_found")]
    assert sorted(faults[4]) == [("colour", "unknown_field"), ("customer", "required"), ("kind", "invalid_choice")]
    assert faults[8] == [("expires_at", "ends_before_start")]

    first, signed, last = (answer["data"][place] for place in (0, 2, 5))
    assert (first["license"]["customer"], first["license"]["plan"]) == (shop.customer["id"], "pro")
    assert [(each["feature"], each["value"]) for each in first["license"]["grants"]] == [("max_tools", 99)]
    assert (signed["license_key"], last["license"]["metadata"]) == (None, {"row": 6})
    assert License.objects.for_tenant(shop.door.tenant).count() == before + 3
    assert not Customer.objects.for_tenant(shop.door.tenant).filter(external_id="new-1").exists()
    assert shop.door.get(f"/licenses/{first['license']['id']}").json == first["license"]


def test_licenses__key_of_an_item__is_the_license_s_own(shop: Shop) -> None:
    answer = shop.door.post("/licenses", {"items": [{"customer": "acme", "plan": "pro"}] * 3})

    for each in answer["data"]:
        normalized = normalize_license_key(each["license_key"])
        assert normalized is not None
        digests = [digest for _, digest in license_key_digests(normalized)]
        [found] = License.objects.filter(key_digest__in=digests)
        assert found.public_id == each["license"]["id"]


def test_licenses__trail_and_events__one_of_each_license_and_new_customer(shop: Shop) -> None:
    tenant = shop.door.tenant
    issued, made = len(actions(tenant, "license.issued")), len(actions(tenant, "customer.created"))

    shop.door.post("/licenses", {"items": [{"customer": {"external_id": "twice"}, "plan": "pro"}] * 2})

    assert len(actions(tenant, "license.issued")) == issued + 2
    assert len(event_types(tenant, "license.issued")) == issued + 2
    assert len(actions(tenant, "customer.created")) == made + 1


def test_licenses__a_thousand__as_many_statements_as_for_ten(shop: Shop) -> None:
    def statements(number: int) -> int:
        items = [{"customer": {"external_id": f"c{number}-{each}"}, "plan": "pro"} for each in range(number)]
        with CaptureQueriesContext(
            connection,
        ) as captured:
            answer = shop.door.post("/licenses", {"items": items})
        assert answer["counts"] == {"succeeded": number, "failed": 0}
        return len(captured)

    statements(2)  # what is read once per process is read
    assert statements(10) == statements(1000)


def test_licenses__same_idempotency_key__the_same_answer_with_its_secrets_kept_sealed(shop: Shop) -> None:
    items = {"items": [{"customer": "acme", "plan": "pro"}, {"customer": "acme", "plan": "gold"}]}
    before = License.objects.for_tenant(shop.door.tenant).count()

    first = shop.door.post("/licenses", items, Idempotency_Key="order-1")
    again = shop.door.post("/licenses", items, Idempotency_Key="order-1")

    assert again.json == first.json
    assert again.headers["Idempotency-Replayed"] == "true"
    assert License.objects.for_tenant(shop.door.tenant).count() == before + 1
    [kept] = IdempotencyRecord.objects.for_tenant(shop.door.tenant).filter(key="order-1")
    assert first["data"][0]["license_key"].encode() not in bytes(kept.body)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"items": {}}, {"items": "wrong_type"}),
        ({"items": None}, {"items": "wrong_type"}),
        ({"items": [{}] * 1001}, {"items": "too_many"}),
        ({"items": [], "plan": "pro"}, {"plan": "unknown_field"}),
    ],
)
@pytest.mark.parametrize("path", ["/licenses", "/agents"])
def test_items__envelope_that_does_not_hold__refused_as_a_whole(
    door: Door, path: str, body: dict[str, Any], fields: dict[str, str]
) -> None:
    refused = door.post(path, body)
    assert (refused.status, refused.fields) == (422, fields)


@pytest.mark.parametrize("path", ["/licenses", "/agents"])
def test_items__none__nothing_is_made(door: Door, path: str) -> None:
    answer = door.post(path, {"items": []})
    assert (answer.status, answer.json) == (200, {"data": [], "counts": {"succeeded": 0, "failed": 0}})


def test_agents__over_the_plans_number__the_first_get_the_places(shop: Shop) -> None:
    shop.door.made("/plans", {"code": "small", "name": "Small", "product": "researcher", "agent_limit": 3})
    license = shop.door.made("/licenses", {"customer": "acme", "plan": "small"})["license"]["id"]
    items = [{"license": license, "name": f"a{number}"} for number in range(5)]
    items[1]["name"] = ""

    answer = shop.door.post("/agents", {"items": items})

    assert _results(answer) == [(201, None), (422, "invalid"), (201, None), (201, None), (403, "agent_limit_reached")]
    assert (answer["data"][4]["limit"], answer["data"][4]["current"]) == (3, 3)
    names = set(Agent.objects.filter(license__id__isnull=False, name__startswith="a").values_list("name", flat=True))
    assert {"a0", "a2", "a3"} <= names
    made = answer["data"][0]
    assert made["agent"] == shop.door.get(f"/agents/{made['agent']['id']}").json
    assert made["key"].startswith("pm_ak_")


def test_agents__another_workspaces_license__not_found(shop: Shop) -> None:
    other = Shop(Door(make_workspace()))
    items = [{"license": other.license["id"], "name": "spy"}, {"license": shop.license["id"], "name": "ours"}]

    answer = shop.door.post("/agents", {"items": items})

    assert _results(answer) == [(422, "invalid"), (201, None)]


def test_items__text_that_no_text_can_be__is_that_item_s_fault_alone(shop: Shop) -> None:
    path, good = "/licenses", {"customer": "acme", "plan": "pro"}
    items = [good, {**good, "metadata": {"a": "\x00"}}, {**good, "plan": "\ud800"}, {**good, "\x00": 1}, "\x00", good]

    answer = shop.door.post(path, {"items": items}, Idempotency_Key="odd-1")

    assert _results(answer) == [(201, None), *[(422, "invalid")] * 4, (201, None)]
    faults = [[error["field"] for error in each["errors"]] for each in answer["data"][1:5]]
    assert faults == [["metadata.a"], ["plan"], [""], [""]]
    assert shop.door.post(path, {"items": items}, Idempotency_Key="odd-1").json == answer.json
    for body in ({"items": [good], "\x00": 1}, {"items": "\x00"}, {"items": {"a": "\x00"}}):
        assert shop.door.post(path, body).status == 422


def test_keys__several__each_its_own(shop: Shop) -> None:
    path = f"/agents/{shop.agent['id']}/keys"
    items = [{}, {"expires_at": "2020-01-01T00:00:00Z"}, {"overlap": 0}]

    answer = shop.door.post(path, {"items": items})

    assert _results(answer) == [(201, None), (422, "invalid"), (201, None)]
    assert answer["data"][0]["key"] != answer["data"][2]["key"]
    living = [row["id"] for row in shop.door.listed(path, status="active")]
    assert living == [answer["data"][2]["id"]]
    assert AgentKey.objects.for_tenant(shop.door.tenant).filter(agent__name="indexer").count() == 3


def test_agents__a_thousand__as_many_statements_as_for_ten(shop: Shop) -> None:
    shop.door.made("/plans", {"code": "wide", "name": "Wide", "product": "researcher", "agent_limit": 5000})
    issued = shop.door.post("/licenses", {"items": [{"customer": "acme", "plan": "wide"}] * 100})["data"]
    licenses = [each["license"]["id"] for each in issued]
    parent = shop.door.made("/agents", {"license": licenses[0], "name": "parent"})["agent"]["id"]

    def statements(number: int) -> int:
        items = [
            {
                "license": licenses[each % len(licenses)],
                "name": f"w{number}-{each}",
                "features": ["max_tools"],
                "parent_id": parent if each % len(licenses) == 0 else None,
            }
            for each in range(number)
        ]
        with CaptureQueriesContext(connection) as captured:
            answer = shop.door.post("/agents", {"items": items})
        assert answer["counts"] == {"succeeded": number, "failed": 0}
        return len(captured)

    statements(2)  # what is read once per process is read
    assert statements(10) == statements(1000)


def test_agents__good_and_bad_items_of_several_licenses__trail_events_and_living_keys(shop: Shop) -> None:
    tenant = shop.door.tenant
    spare = shop.door.made("/licenses", {"customer": "acme", "plan": "pro"})["license"]["id"]
    created = len(actions(tenant, "agent.created"))
    told = len(event_types(tenant, "agent.created"))
    items: list[dict[str, Any]] = [
        {"license": spare, "name": "top"},
        {"license": shop.license["id"], "name": "child", "parent_id": shop.agent["id"]},
        {"license": spare, "name": "stray", "parent_id": shop.agent["id"]},
        {"license": "lic_01h455vb4pex5vsknk084sn02q", "name": "nowhere"},
        {"license": spare, "name": "odd", "features": ["telepathy"]},
        {"license": spare, "name": "orphan", "parent_id": "agt_01h455vb4pex5vsknk084sn02q"},
    ]

    answer = shop.door.post("/agents", {"items": items})

    assert _results(answer) == [(201, None), (201, None), *[(422, "invalid")] * 4]
    faults = [[(error["field"], error["code"]) for error in each["errors"]] for each in answer["data"][2:]]
    assert faults == [
        [("parent_id", "other_license")],
        [("license", "not_found")],
        [("features.0", "not_found")],
        [("parent_id", "not_found")],
    ]
    alone = [shop.door.post("/agents", item).json for item in items[2:]]
    assert [each["detail"] for each in answer["data"][2:]] == [each["detail"] for each in alone]
    assert len(actions(tenant, "agent.created")) == created + 2
    assert len(event_types(tenant, "agent.created")) == told + 2
    top, child = (each["agent"] for each in answer["data"][:2])
    assert (top["license"], top["parent_id"], child["parent_id"]) == (spare, None, shop.agent["id"])
    for each in answer["data"][:2]:
        parsed = parse_key(each["key"])
        assert parsed is not None
        access = load_by_agent_key(parsed)
        assert access is not None
        assert encode_id(Prefix.AGENT, access.agent_path[-1]) == each["agent"]["id"]
