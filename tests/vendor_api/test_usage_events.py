"""Raw events at the vendors' door: listed, taken along, and one of them with what it counted in."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest

from common.clock import real_clock
from metering.models import UsageEvent
from tests.vendor_api.door import Door
from tests.vendor_api.shop import Shop

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shop(transactional_db: None) -> Shop:
    return Shop(Door())


def record(shop: Shop, *ids: str, **more: Any) -> list[str]:
    """Events a second apart, the last one just now; their `evt_` ids."""
    now = real_clock().now()
    events = [
        {
            "id": id,
            "meter": "tokens",
            "quantity": place + 1,
            "agent": shop.agent["id"],
            "occurred_at": (now - timedelta(seconds=len(ids) - place)).isoformat(),
            **more,
        }
        for place, id in enumerate(ids)
    ]
    answer = shop.door.post("/usage", {"events": events})
    assert answer["recorded"] == len(ids), answer
    return [result["event_id"] for result in answer["results"]]


def names(shop: Shop, **query: Any) -> list[str]:
    answer = shop.door.call("GET", "/usage/events", query=query)
    assert answer.status == 200, answer
    return [event["id"] for event in answer["data"]]


def test_events__listed__newest_first_by_pages(shop: Shop) -> None:
    record(shop, "a", "b", "c", "d", "e")

    first = shop.door.call("GET", "/usage/events", query={"limit": "2"})
    assert [event["id"] for event in first["data"]] == ["e", "d"]
    rest = shop.door.call("GET", "/usage/events", query={"limit": "4", "cursor": first["next_cursor"]})
    assert ([event["id"] for event in rest["data"]], rest["next_cursor"]) == (["c", "b", "a"], None)
    event = rest["data"][0]
    assert (event["quantity"], event["agent"], event["license"]) == ("3", shop.agent["id"], shop.license["id"])


def test_events__filtered__only_those(shop: Shop) -> None:
    ids = record(shop, "a", "b")
    record(shop, "c", dimensions={"model": "large"})

    assert names(shop, id="b") == ["b"]
    assert names(shop, id="b", license=shop.license["id"]) == ["b"]
    assert names(shop, id="nobody") == []
    assert names(shop, event_id=ids[0]) == ["a"]
    assert names(shop, agent=shop.agent["id"], descendants="true") == ["c", "b", "a"]
    assert names(shop, agent="agt_01h455vb4pex5vsknk084sn02q") == []
    assert names(shop, **{"filter[model]": "large"}) == ["c"]
    assert names(shop, meter="tokens", kind="usage", customer=shop.customer["external_id"]) == ["c", "b", "a"]
    assert names(shop, kind="consume") == names(shop, flag="rate_missing") == names(shop, corrects=ids[0]) == []
    assert names(shop, **{"from": (real_clock().now() + timedelta(hours=1)).isoformat()}) == []


@pytest.mark.parametrize("path", ["/usage", "/usage/events", "/usage/events/export"])
@pytest.mark.parametrize("value", ["true", "false"])
def test_usage__descendants_of_nobody__is_refused_by_name(shop: Shop, path: str, value: str) -> None:
    since = {"meter": "tokens", "from": "2026-01-01T00:00:00Z"}
    refused = shop.door.call("GET", path, query={**since, "descendants": value})

    assert (refused.status, refused.fields) == (422, {"descendants": "agent_required"})
    assert shop.door.call("GET", path, query={**since, "descendants": value, "agent": shop.agent["id"]}).status == 200


def test_events__of_another_workspace__are_not_there(shop: Shop) -> None:
    [id] = record(shop, "a")
    stranger = Shop(Door())

    assert names(stranger) == names(stranger, id="a") == names(stranger, event_id=id) == []
    assert stranger.door.call("GET", f"/usage/events/{id}").status == 404


def test_event__read__shows_what_it_counted_in_and_what_took_it_back(shop: Shop) -> None:
    door = shop.door
    quota = {"on": {"agent": shop.agent["id"]}, "meter": "tokens", "limit": 100, "period": "day"}
    door.made("/quotas", quota)
    door.made("/quotas", {**quota, "on": {"tenant": True}, "filter": {"model": "large"}, "period": "lifetime"})
    [plain] = record(shop, "a")
    [large] = record(shop, "b", dimensions={"model": "large"})
    assert door.post(f"/usage/{plain}/void").status == 200

    shown = door.call("GET", f"/usage/events/{plain}")
    assert shown["event"]["id"] == "a"
    assert "agent" in [each["scope"] for each in shown["counted_in"]]
    assert all(each["filter"] == {} for each in shown["counted_in"])
    assert [(each["corrects"], each["quantity"]) for each in shown["reversed_by"]] == [(plain, "-1")]
    assert shown["derived"] == []
    of_large = door.call("GET", f"/usage/events/{large}")["counted_in"]
    assert [(each["scope"], each["subject"], each["period"], each["used"], each["late"]) for each in of_large][-1] == (
        "tenant",
        door.tenant.public_id,
        "lifetime",
        "1",
        False,
    )


@pytest.mark.parametrize("asked", [{"query": {"format": "ndjson"}}, {"Accept": "application/x-ndjson"}])
def test_export__ndjson__an_object_for_each_oldest_first(shop: Shop, asked: dict[str, Any]) -> None:
    record(shop, "a", "b", dimensions={"model": "large"})

    text = shop.door.client.get(
        "/vendor/v1/usage/events/export",
        query_params=asked.get("query"),
        headers={"Authorization": f"Bearer {shop.door.key}"} | {k: v for k, v in asked.items() if k != "query"},
    )

    lines = [json.loads(line) for line in b"".join(text.streaming_content).splitlines()]
    assert [(line["id"], line["quantity"], line["dimensions"]) for line in lines] == [
        ("a", "1", {"model": "large"}),
        ("b", "2", {"model": "large"}),
    ]


def test_export__csv__no_cell_is_a_formula(shop: Shop) -> None:
    record(shop, "=1+1", "plain")
    UsageEvent.objects.filter(client_id="plain").update(quantity=-2)

    answer = shop.door.call("GET", "/usage/events/export", query={"meter": "tokens"})

    rows = list(csv.DictReader(io.StringIO(answer.json)))
    assert [row["id"] for row in rows] == ["'=1+1", "plain"]
    assert rows[1]["quantity"] == "'-2"


def test_usage__filter_and_top__reach_the_report(shop: Shop) -> None:
    record(shop, "a", "b", dimensions={"model": "large"})
    record(shop, "c", dimensions={"model": "small"})
    since = (real_clock().now() - timedelta(hours=1)).isoformat()

    only = shop.door.call("GET", "/usage", query={"meter": "tokens", "from": since, "filter[model]": "large"})
    top = shop.door.call("GET", "/usage", query={"meter": "tokens", "from": since, "group_by": "model", "top": "1"})

    assert only["total"] == "3"
    assert {row["group"]["model"]: row["value"] for row in top["data"]} == {"large": "3", "__other__": "1"}
    for query, field in [({"filter[colour]": "red"}, "filter.colour"), ({"top": "x"}, "top"), ({"top": "2"}, "top")]:
        refused = shop.door.call("GET", "/usage", query={"meter": "tokens", "from": since, **query})
        assert (refused.status, list(refused.fields)) == (422, [field])


def lines_of(shop: Shop, query: dict[str, Any], **headers: str) -> tuple[str, str]:
    """The usage report as it streams: its media type and its text."""
    since = (real_clock().now() - timedelta(hours=1)).isoformat()
    response = shop.door.client.get(
        "/vendor/v1/usage",
        query_params={"meter": "tokens", "from": since} | query,
        headers={"Authorization": f"Bearer {shop.door.key}"} | headers,
    )
    assert (response.status_code, response.streaming) == (200, True)
    return response.headers["Content-Type"], b"".join(response.streaming_content).decode()


def test_usage__as_csv__a_row_a_line_and_safe_for_spreadsheets(shop: Shop) -> None:
    record(shop, "a", "b", dimensions={"model": "=1+1"})
    record(shop, "c", dimensions={"model": "small"})

    media_type, text = lines_of(shop, {"format": "csv", "group_by": "model,agent"})
    _, accepted = lines_of(shop, {"group_by": "model,agent"}, Accept="text/csv, */*;q=0.1")

    assert media_type == "text/csv; charset=utf-8"
    header, *rows = list(csv.reader(io.StringIO(text)))
    assert header == ["start", "end", "model", "agent", "value"]
    assert sorted(row[2:] for row in rows) == [
        ["'=1+1", shop.agent["id"], "3"],
        ["small", shop.agent["id"], "1"],
    ]
    assert [line.split(",")[2:] for line in accepted.splitlines()] == [
        line.split(",")[2:] for line in text.splitlines()
    ]


def test_usage__as_ndjson__is_the_rows_of_the_report(shop: Shop) -> None:
    record(shop, "a", "b", dimensions={"model": "large"})
    record(shop, "c", dimensions={"model": "small"})
    until = (real_clock().now() + timedelta(minutes=1)).isoformat()
    since = (real_clock().now() - timedelta(hours=1)).isoformat()
    asked = {"group_by": "model", "from": since, "to": until}

    media_type, text = lines_of(shop, asked | {"format": "ndjson"})
    _, accepted = lines_of(shop, asked, Accept="application/x-ndjson")
    report = shop.door.call("GET", "/usage", query={"meter": "tokens"} | asked)

    assert media_type == "application/x-ndjson"
    assert [json.loads(line) for line in text.splitlines()] == report["data"]
    assert (accepted, len(report["data"])) == (text, 2)


def test_usage__said_format_or_json_accepted__wins_over_the_rest(shop: Shop) -> None:
    since = (real_clock().now() - timedelta(hours=1)).isoformat()
    query = {"meter": "tokens", "from": since}

    both = shop.door.call("GET", "/usage", query=query, Accept="application/json, text/csv")
    said = shop.door.call("GET", "/usage", query=query | {"format": "json"}, Accept="text/csv")
    unknown = shop.door.call("GET", "/usage", query=query | {"format": "xml"})

    assert both.json == said.json == {"data": [], "total": "0", "next_cursor": None}
    assert (unknown.status, list(unknown.fields)) == (422, ["format"])
