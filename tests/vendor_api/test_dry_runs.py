"""What an edit would do, asked before it is made: told in full, written nowhere, and then exactly what happens."""

from __future__ import annotations

from typing import Any

import pytest

from tenants.models import AuditEntry, Epoch, OutboxEvent
from tests.vendor_api.door import Answer, Door
from tests.vendor_api.shop import Shop
from tests.vendor_api.test_entitlements import entitlements

LATER = "2090-01-01T00:00:00Z"


def trial(door: Door, path: str, body: Any, **query: Any) -> Answer:
    """What a PATCH would do; that nothing is written is looked at each time."""
    before = written(door)
    answer = door.call("PATCH", path, body, query={"dry_run": "true", **query})
    assert written(door) == before
    return answer


def written(door: Door) -> list[Any]:
    tables = (AuditEntry, OutboxEvent, Epoch)
    return [
        *(
            list(table.objects.filter(tenant_id=door.tenant.id).order_by("pk").values_list("pk", flat=True))
            for table in tables
        ),
        list(Epoch.objects.filter(tenant_id=door.tenant.id).order_by("pk").values_list("version", flat=True)),
        door.get("/plans/pro").json,
        door.listed("/licenses"),
    ]


def told(answer: Answer) -> list[tuple[Any, ...]]:
    assert (answer.status, answer["dry_run"]) == (200, True), answer
    return [
        (
            each["license"],
            each["feature"]
            or each["limit"]
            or (each["quota"]["meter"], each["quota"]["scope"], each["quota"]["period"]),
            each["before"],
            each["after"],
            each["effect"],
        )
        for each in answer["changes"]
    ]


def license_of(shop: Shop, **more: Any) -> str:
    return str(shop.door.made("/licenses", {"customer": "acme", "plan": "pro", **more})["license"]["id"])


def test_plan__tried_with_other_grants__tells_who_loses_and_gains_what(shop: Shop) -> None:
    door, first = shop.door, shop.license["id"]
    second = license_of(shop, grants=[{"feature": "max_tools", "value": 99}])
    grants = [{"feature": "models", "value": ["small"]}, {"feature": "max_tools", "value": 30}]

    answer = trial(door, "/plans/pro", {"grants": grants})

    assert answer["licenses_affected"] == 2
    # The second has a number of tools of its own; newest first.
    assert told(answer) == [
        (second, "models", ["small", "large"], ["small"], "loses"),
        (second, "web_search", True, False, "loses"),
        (first, "max_tools", 20, 30, "gains"),
        (first, "models", ["small", "large"], ["small"], "loses"),
        (first, "web_search", True, False, "loses"),
    ]
    assert [(each["feature"], each["effect"], each["licenses"]) for each in answer["summary"]] == [
        ("models", "loses", 2),
        ("web_search", "loses", 2),
        ("max_tools", "gains", 1),
    ]
    assert answer["next_cursor"] is None
    assert entitlements(door, f"/licenses/{first}")["max_tools"]["value"] == 20


def test_plan__tried_as_it_is_or_without_a_body__changes_nothing(shop: Shop) -> None:
    nothing = {"dry_run": True, "licenses_affected": 0, "summary": [], "changes": [], "next_cursor": None}
    same = {name: shop.plan[name] for name in ("grants", "name", "agent_limit", "rate_limits", "grace_days")}

    for body in (None, {}, same, {"name": "Pro Plus"}):
        answer = trial(shop.door, "/plans/pro", body)
        assert (answer.status, answer.json) == (200, nothing)
    license = trial(shop.door, f"/licenses/{shop.license['id']}", None)
    assert (license.status, license.json) == (200, nothing)


def test_plan__tried_with_other_quotas_and_limits__tells_each(shop: Shop) -> None:
    door = shop.door
    door.patch("/plans/pro", {"prices": []})
    edit = {
        "quotas": [
            {"meter": "tokens", "limit": "500", "period": "month", "mode": "hard"},
            {"meter": "tokens", "limit": "9", "period": "day"},
        ],
        "agent_limit": None,
        "grace_days": 3,
        "token_ttl": 7200,
        "rate_limits": [{"level": "agent", "limit": 60, "window": 60}, {"level": "license", "limit": 9, "window": 1}],
    }

    answer = trial(door, "/plans/pro", edit)

    id = shop.license["id"]
    assert told(answer) == [
        (id, ("tokens", "license", "day"), None, {"limit": "9", "mode": "hard", "ceiling": None}, "loses"),
        (
            id,
            ("tokens", "license", "month"),
            {"limit": "1000000", "mode": "soft", "ceiling": None},
            {"limit": "500", "mode": "hard", "ceiling": None},
            "loses",
        ),
        (id, "agent_limit", 50, None, "gains"),
        (id, "grace_days", 7, 3, "loses"),
        (
            id,
            "rate_limits.agent",
            [{"level": "agent", "limit": 600, "window": 60, "burst": 600}],
            [{"level": "agent", "limit": 60, "window": 60, "burst": 60}],
            "loses",
        ),
        (id, "rate_limits.license", [], [{"level": "license", "limit": 9, "window": 1, "burst": 9}], "loses"),
        (id, "token_ttl", 3600, 7200, "gains"),
    ]
    assert told(trial(door, "/plans/pro", {"quotas": []})) == [
        (
            id,
            ("tokens", "license", "month"),
            {"limit": "1000000", "mode": "soft", "ceiling": None},
            None,
            "gains",
        )
    ]


def test_add_on__tried__adds_to_what_the_base_plan_has(shop: Shop) -> None:
    door = shop.door
    add_on = {
        "code": "more",
        "name": "More",
        "product": "researcher",
        "agent_limit": 5,
        "token_ttl": 60,
        "grants": [{"feature": "max_tools", "value": 5}, {"feature": "models", "value": ["large"]}],
        "quotas": [{"meter": "tokens", "limit": "10", "period": "month", "mode": "soft"}],
    }
    door.made("/plans", add_on)
    carrier = license_of(shop, add_ons=["more"])
    alone = license_of(shop, plan="more")
    edit = {
        "agent_limit": 6,
        "token_ttl": 90,
        "grants": [{"feature": "max_tools", "value": 7}],
        "quotas": [{"meter": "tokens", "limit": "20", "period": "month", "mode": "soft"}],
    }

    answer = trial(door, "/plans/more", edit)

    month = ("tokens", "license", "month")
    assert told(answer) == [
        (alone, "max_tools", 5, 7, "gains"),
        (alone, "models", ["large"], [], "loses"),
        (alone, month, *[{"limit": each, "mode": "soft", "ceiling": None} for each in ("10", "20")], "gains"),
        (alone, "agent_limit", 5, 6, "gains"),
        (alone, "token_ttl", 60, 90, "gains"),
        # The base plan grants every model already, and it is its token life that counts.
        (carrier, "max_tools", 25, 27, "gains"),
        (
            carrier,
            month,
            *[{"limit": each, "mode": "soft", "ceiling": None} for each in ("1000010", "1000020")],
            "gains",
        ),
        (carrier, "agent_limit", 55, 56, "gains"),
    ]


def test_plan__tried__passes_over_licences_that_are_over(shop: Shop) -> None:
    door = shop.door
    old = {"starts_at": "2019-01-01T00:00:00Z"}
    license_of(shop, expires_at="2020-01-01T00:00:00Z")
    revoked, archived = license_of(shop), license_of(shop)
    door.post(f"/licenses/{revoked}/revoke")
    door.delete(f"/licenses/{archived}")
    suspended = license_of(shop)
    door.post(f"/licenses/{suspended}/suspend")
    in_grace = license_of(shop, **old, expires_at=door.post(f"/licenses/{suspended}/validate")["server_time"])
    future = license_of(shop, starts_at=LATER)

    answer = trial(door, "/plans/pro", {"grants": []})

    assert answer["licenses_affected"] == 4
    assert {each["license"] for each in answer["changes"]} == {future, in_grace, suspended, shop.license["id"]}


def test_plan__tried_with_many_licences__is_paged_by_licence(shop: Shop) -> None:
    door = shop.door
    ids = [license_of(shop) for _ in range(4)]
    expected = [*reversed(ids), shop.license["id"]]

    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        answer = trial(door, "/plans/pro", {"grants": []}, limit="2", **cursor)
        assert answer["licenses_affected"] == 5
        assert [each["licenses"] for each in answer["summary"]] == [5, 5, 5]
        seen += dict.fromkeys(each["license"] for each in answer["changes"])
        cursor = {"cursor": answer["next_cursor"] or ""}
    assert seen == expected
    assert cursor == {"cursor": ""}


def test_plan__tried_with_ten_times_the_licences__takes_as_many_queries(
    shop: Shop, django_assert_max_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as seen:
            shop.door.call("PATCH", "/plans/pro", {"grants": []}, query={"dry_run": "true"})
        counts.append(len(seen))
        for _ in range(10):
            license_of(shop, grants=[{"feature": "max_tools", "value": 1}])

    assert counts[0] == counts[1]


def test_license__tried_with_another_plan_grants_and_end__tells_what_it_would_lose(shop: Shop) -> None:
    door, path, id = shop.door, f"/licenses/{shop.license['id']}", shop.license["id"]
    basic = {"code": "basic", "name": "Basic", "product": "researcher", "agent_limit": 1, "grace_days": 7}
    door.made("/plans", basic | {"grants": [{"feature": "models", "value": ["small"]}]})
    edit = {
        "plan": "basic",
        "expires_at": None,
        "grants": [{"feature": "max_tools", "value": 5}, {"feature": "web_search", "value": True, "starts_at": LATER}],
    }

    answer = trial(door, path, edit)

    assert answer["licenses_affected"] == 1
    assert told(answer) == [
        (id, "max_tools", 20, 5, "loses"),
        (id, "models", ["small", "large"], ["small"], "loses"),
        (id, "web_search", True, False, "loses"),
        (id, ("tokens", "license", "month"), {"limit": "1000000", "mode": "soft", "ceiling": None}, None, "gains"),
        (id, "agent_limit", 50, 1, "loses"),
        (
            id,
            "rate_limits.agent",
            [{"level": "agent", "limit": 600, "window": 60, "burst": 600}],
            [],
            "gains",
        ),
        (id, "expires_at", shop.license["expires_at"], None, "gains"),
    ]
    # What was told is what then happens.
    assert door.patch(path, edit).status == 200
    after = {name: row["value"] for name, row in entitlements(door, path).items()}
    assert after == {"max_tools": 5, "models": ["small"]}


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ({"dry_run": "yes"}, "dry_run", "invalid_choice"),
        ({"dry_run": "true", "limit": "0"}, "limit", "invalid"),
        ({"dry_run": "true", "cursor": "nonsense"}, "cursor", "invalid"),
        ({"nonsense": "1"}, "nonsense", "unknown_parameter"),
    ],
)
def test_edit__query_that_does_not_hold__is_422_and_writes_nothing(
    shop: Shop, query: dict[str, str], field: str, code: str
) -> None:
    before = written(shop.door)

    answer = shop.door.call("PATCH", "/plans/pro", {"grants": []}, query=query)

    assert (answer.status, answer.fields) == (422, {field: code})
    assert written(shop.door) == before


def test_edit__that_would_be_refused__is_refused_when_tried(shop: Shop) -> None:
    door = shop.door
    for path, body, expected in (
        ("/plans/pro", {"grants": [{"feature": "flying", "value": True}]}, {"grants.0.feature": "not_found"}),
        ("/plans/pro", {"agent_limit": -1}, {"agent_limit": "min_value"}),
        ("/plans/pro", {"nonsense": 1}, {"nonsense": "unknown_field"}),
        (f"/licenses/{shop.license['id']}", {"plan": "gold"}, {"plan": "not_found"}),
        (
            f"/licenses/{shop.license['id']}",
            {"expires_at": "1999-01-01T00:00:00Z"},
            {"expires_at": "ends_before_start"},
        ),
    ):
        answer = trial(door, path, body)
        assert (answer.status, answer.fields) == (422, expected), (path, body)
    door.delete("/plans/pro")
    assert trial(door, "/plans/pro", {"name": "x"}).code == "plan_archived"


def test_edit__with_dry_run_false__is_made(shop: Shop) -> None:
    answer = shop.door.call("PATCH", "/plans/pro", {"name": "Plus"}, query={"dry_run": "false"})

    assert (answer.status, answer["name"]) == (200, "Plus")
    assert shop.door.get("/plans/pro")["name"] == "Plus"


def test_plan__tried_where_licences_have_limits_of_their_own__those_feel_nothing(shop: Shop) -> None:
    limit = {"level": "agent", "limit": 5, "window": 60}
    own = license_of(shop, rate_limits=[limit])

    answer = trial(shop.door, "/plans/pro", {"rate_limits": []})

    assert answer["licenses_affected"] == 1
    assert own not in {each["license"] for each in answer["changes"]}
