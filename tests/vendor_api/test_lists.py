"""Lists: pages by cursor, newest first, and filters by the fields that people search for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from common.clock import real_clock
from licenses.models import License
from tests.vendor_api.door import Door
from tests.vendor_api.shop import Shop


def test_list__paged__has_each_row_once_newest_first(door: Door) -> None:
    made = [door.made("/customers", {"external_id": f"c-{number}"})["id"] for number in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        page = door.get("/customers", limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]

    assert seen == made[::-1]
    assert cursor is None


def test_licenses__by_status__follow_the_clock(shop: Shop) -> None:
    now = real_clock().now()
    ids = {
        status: shop.door.made("/licenses", {"customer": "acme", "plan": "pro", **times})["license"]["id"]
        for status, times in {
            "not_started": {"starts_at": (now + timedelta(days=1)).isoformat()},
            "grace": {
                "starts_at": (now - timedelta(days=9)).isoformat(),
                "expires_at": (now - timedelta(days=2)).isoformat(),
            },
            "expired": {
                "starts_at": (now - timedelta(days=30)).isoformat(),
                "expires_at": (now - timedelta(days=8)).isoformat(),
            },
            "suspended": {},
            "revoked": {},
        }.items()
    }
    shop.door.post(f"/licenses/{ids['suspended']}/suspend")
    shop.door.post(f"/licenses/{ids['revoked']}/revoke")
    ids["active"] = shop.license["id"]

    for status, id in ids.items():
        rows = shop.door.listed("/licenses", status=status)
        assert [(row["id"], row["status"]) for row in rows] == [(id, status)]


def test_agents__by_status__follow_the_clock(shop: Shop) -> None:
    body = {"license": shop.license["id"], "expires_at": "2020-01-01T00:00:00Z"}
    made = {
        status: shop.door.made("/agents", body | {"name": status}) for status in ("expired", "suspended", "revoked")
    }
    ids = {status: created["agent"]["id"] for status, created in made.items()} | {"active": shop.agent["id"]}
    shop.door.post(f"/agents/{ids['suspended']}/suspend", {"reason": None})
    shop.door.post(f"/agents/{ids['revoked']}/revoke")

    assert made["expired"]["agent"]["status"] == "expired"
    for status, id in ids.items():
        rows = shop.door.listed("/agents", status=status)
        assert [(row["id"], row["status"]) for row in rows] == [(id, status)]


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ({"customer": "acme"}, True),
        ({"customer": "other"}, False),
        ({"external_id": "acme"}, True),
        ({"plan": "pro"}, True),
        ({"plan": "basic"}, False),
        ({"product": "researcher"}, True),
        ({"kind": "both"}, True),
        ({"kind": "signed"}, False),
        ({"metadata[team]": "search"}, True),
        ({"metadata[team]": "sales"}, False),
        ({"metadata[seats]": "5"}, True),
        ({"metadata[live]": "true"}, True),
        ({"metadata[seats]": "1e999"}, False),
        ({"metadata[team]": "search", "metadata[seats]": "6"}, False),
        ({"expires_after": "2029-12-31T22:00:00Z"}, True),
        ({"expires_before": "2029-12-31T22:00:00Z"}, False),
        ({"expires_before": "2029-12-31T22:00:00.000001Z"}, True),
        ({"created_after": "2020-01-01T00:00:00+01:00"}, True),
        ({"created_before": "2020-01-01T00:00:00Z"}, False),
        ({"archived": "true"}, False),
    ],
)
def test_licenses__filtered(shop: Shop, query: dict[str, str], matches: bool) -> None:
    metadata = {"team": "search", "seats": 5, "live": True}
    License.objects.update(metadata=metadata, expires_at="2029-12-31T22:00:00Z")

    assert len(shop.door.listed("/licenses", **query)) == int(matches)


@pytest.mark.parametrize(
    ("path", "query", "count"),
    [
        ("/features", {"product": "researcher"}, 3),
        ("/features", {"kind": "limit"}, 1),
        ("/plans", {"product": "researcher", "code": "pro"}, 1),
        ("/agents", {"customer": "acme", "status": "active"}, 1),
        ("/agents", {"name": "nobody"}, 0),
        ("/meters", {"code": "tokens", "aggregation": "sum"}, 1),
        ("/quotas", {"plan": "pro", "meter": "tokens"}, 1),
        ("/quotas", {"plan": "pro", "mode": "hard"}, 0),
        ("/customers", {"status": "suspended"}, 0),
        ("/api-keys", {"status": "active", "kind": "secret"}, 1),
        ("/audit-entries", {"action": "plan.created"}, 1),
        ("/audit-entries", {"target_kind": "feature", "actor_kind": "api_key"}, 3),
        ("/overages", {"meter": "tokens", "status": "open", "plan": "pro"}, 0),
        ("/holds", {"status": "open"}, 0),
        ("/holds", {"status": "expired", "customer": "acme"}, 0),
        ("/runaway-incidents", {"status": "open", "customer": "acme"}, 0),
        ("/runaway-incidents", {"rule": "refusal_share", "action": "suspend"}, 0),
    ],
)
def test_lists__filtered__have_what_was_asked_for(shop: Shop, path: str, query: dict[str, Any], count: int) -> None:
    assert len(shop.door.listed(path, **query)) == count


def test_lists__in_another_workspace__are_empty(shop: Shop) -> None:
    stranger = Door()

    for path in (
        "customers",
        "products",
        "features",
        "plans",
        "licenses",
        "agents",
        "meters",
        "quotas",
        "top-ups",
        "jobs",
    ):
        assert stranger.listed(f"/{path}") == []
    for query in ({"customer": shop.customer["id"]}, {"plan": shop.plan["id"]}):
        assert stranger.listed("/licenses", **query) == []


@pytest.mark.parametrize("path", ["/licenses", "/plans", "/agents", "/customers", "/quotas", "/features"])
def test_list__of_more_rows__needs_no_more_queries(shop: Shop, path: str, django_assert_max_num_queries: Any) -> None:
    for number in range(5):
        issued = shop.door.made("/licenses", {"customer": {"external_id": f"c-{number}"}, "plan": "pro"})
        shop.door.made("/agents", {"license": issued["license"]["id"], "name": f"agent-{number}"})

    with django_assert_max_num_queries(6):
        shop.door.listed(path)


@pytest.mark.django_db
def test_cursor__of_another_list_or_of_other_filters__is_422(door: Door) -> None:
    for number in range(3):
        door.made("/customers", {"external_id": f"c-{number}", "metadata": {"team": "a"}})
    plain = door.get("/customers", limit=1)["next_cursor"]
    filtered = door.get("/customers", limit=1, **{"metadata[team]": "a", "status": "active"})["next_cursor"]

    assert door.get("/customers", cursor=plain, limit=2).status == 200
    assert door.get("/customers", **{"status": "active", "metadata[team]": "a"}, cursor=filtered).status == 200
    for path, query in (
        ("/customers", {"cursor": filtered}),
        ("/customers", {"cursor": plain, "status": "active"}),
        ("/customers", {"cursor": filtered, "status": "active"}),
        ("/products", {"cursor": plain}),
    ):
        answer = door.get(path, **query)
        assert (answer.status, answer.fields) == (422, {"cursor": "other_list"})


def test_list__unknown_parameter__is_told_which_there_are(door: Door) -> None:
    detail = door.get("/meters", interval="day")["errors"][0]["detail"]

    known = "aggregation, archived, code, created_after, created_before, cursor, limit"
    assert detail == f"There is no such parameter here, but {known}."
