"""Cost meters, typed dimensions and the template of LLM meters at the vendors' door."""

from __future__ import annotations

from typing import Any

import pytest

from metering.models import Meter, RateCardEntry
from tenants.models import AuditEntry
from tests.vendor_api.door import Door
from tests.vendor_api.shop import Shop

ROW: dict[str, Any] = {"meter": "tokens", "dimensions": {"model": "large"}, "unit_price": "0.00001"}
SPEND: dict[str, Any] = {"code": "spend", "unit": "USD", "rate_card": [ROW]}


def test_create__cost_meter__answers_with_its_card(shop: Shop) -> None:
    made = shop.door.made("/meters", {**SPEND, "aggregation": "sum"})

    assert (made["unit"], made["dimensions"], made["event_types"]) == ("USD", ["model"], [])
    assert made["rate_card"] == [{**ROW, "starts_at": None, "ends_at": None}]
    assert shop.door.get(f"/meters/{made['id']}").json == made
    listed = shop.door.get("/meters")["data"]
    assert [row["rate_card"] for row in listed] == [made["rate_card"], None]
    [entry] = AuditEntry.objects.filter(action="meter.created", target_id=made["id"])
    assert entry.changes["rate_card"] == [[], [{**ROW, "starts_at": None, "ends_at": None}]]


def test_create__cost_meter__without_a_unit__is_in_the_workspace_currency(shop: Shop) -> None:
    assert shop.door.made("/meters", {"code": "spend", "rate_card": []})["unit"] == shop.door.tenant.currency


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"unit": "tokens"}, {"unit": "invalid"}),
        ({"aggregation": "max"}, {"aggregation": "not_allowed"}),
        ({"event_types": ["spend"]}, {"event_types": "not_allowed"}),
        ({"filter": {"model": "large"}}, {"filter": "not_allowed"}),
        ({"rate_card": [{**ROW, "meter": "nope"}]}, {"rate_card.0.meter": "unknown_meter"}),
        ({"rate_card": [{**ROW, "dimensions": {"tool": "x"}}]}, {"rate_card.0.dimensions.tool": "dimension_unknown"}),
        ({"rate_card": [{**ROW, "unit_price": "-1"}]}, {"rate_card.0.unit_price": "quantity_negative"}),
        ({"rate_card": [{**ROW, "unit_price": "1000001"}]}, {"rate_card.0.unit_price": "quantity_out_of_range"}),
        ({"rate_card": [{"meter": "tokens"}]}, {"rate_card.0.unit_price": "required"}),
        ({"rate_card": [ROW, ROW]}, {"rate_card.1": "rate_repeated"}),
        (
            {
                "rate_card": [
                    {**ROW, "ends_at": "2026-12-01T00:00:00.000001Z"},
                    {**ROW, "unit_price": "1", "starts_at": "2026-12-01T00:00:00Z"},
                ]
            },
            {"rate_card.1": "rate_repeated"},
        ),
        (
            {"rate_card": [{**ROW, "starts_at": "2026-12-01T00:00:00Z", "ends_at": "2026-12-01T00:00:00Z"}]},
            {"rate_card.0.ends_at": "range_empty"},
        ),
    ],
)
def test_create__cost_meter_that_does_not_hold__is_422_and_not_made(
    shop: Shop, change: dict[str, Any], fields: dict[str, str]
) -> None:
    answer = shop.door.post("/meters", SPEND | change)
    assert (answer.status, answer.fields) == (422, fields)
    assert not Meter.objects.filter(code="spend").exists()


@pytest.mark.parametrize("aggregation", ["max", "unique", "latest"])
def test_create__card_of_a_meter_that_does_not_add_up__is_422(shop: Shop, aggregation: str) -> None:
    shop.door.made("/meters", {"code": "peak", "aggregation": aggregation})
    answer = shop.door.post("/meters", {**SPEND, "rate_card": [{"meter": "peak", "unit_price": "1"}]})
    assert (answer.status, answer.code) == (422, "aggregation_unsupported")


def test_create__card_of_a_cost_meter__is_422(shop: Shop) -> None:
    shop.door.made("/meters", SPEND)
    answer = shop.door.post("/meters", {"code": "twice", "rate_card": [{"meter": "spend", "unit_price": "1"}]})
    assert answer.fields == {"rate_card.0.meter": "meter_derived"}


def test_create__rows_that_follow_each_other__are_taken(shop: Shop) -> None:
    rows = [
        {**ROW, "ends_at": "2026-12-01T00:00:00Z"},
        {**ROW, "unit_price": "2", "starts_at": "2026-12-01T00:00:00Z"},
    ]
    made = shop.door.made("/meters", {**SPEND, "rate_card": rows})
    assert [row["unit_price"] for row in made["rate_card"]] == ["0.00001", "2"]


def test_update__rate_card__is_replaced_as_a_whole(shop: Shop) -> None:
    made = shop.door.made("/meters", SPEND)
    kept = RateCardEntry.objects.get()

    changed = shop.door.patch("/meters/spend", {"rate_card": [ROW, {"meter": "tokens", "unit_price": "0.5"}]})
    assert [row["unit_price"] for row in changed["rate_card"]] == ["0.00001", "0.5"]
    assert RateCardEntry.objects.filter(id=kept.id).exists()
    same = shop.door.patch("/meters/spend", {"rate_card": [ROW, {"meter": "tokens", "unit_price": "0.50"}]})
    assert same["rate_card"] == changed["rate_card"]
    assert AuditEntry.objects.filter(action="meter.updated", target_id=made["id"]).count() == 1
    assert shop.door.patch("/meters/spend", {"rate_card": []})["rate_card"] == []
    assert shop.door.patch("/meters/tokens", {"rate_card": [ROW]}).fields == {"rate_card": "not_allowed"}


def test_update__source_that_gets_a_dimension__hands_it_to_its_cost_meter(shop: Shop) -> None:
    shop.door.made("/meters", SPEND)
    shop.door.patch("/meters/tokens", {"dimensions": ["model", "provider"]})
    assert shop.door.get("/meters/spend")["dimensions"] == ["model", "provider"]
    gone = shop.door.patch("/meters/tokens", {"dimensions": ["provider"]})
    assert (gone.status, gone.code) == (409, "dimension_in_use")


def test_archive__source_of_a_rate_card__is_409_until_the_cost_meter_is_gone(shop: Shop) -> None:
    shop.door.made("/meters", {"code": "calls", "aggregation": "count"})
    shop.door.made("/meters", {"code": "spend", "rate_card": [{"meter": "calls", "unit_price": "1"}]})
    answer = shop.door.delete("/meters/calls")
    assert (answer.status, answer.code, answer["rate_cards"]) == (409, "meter_in_use", 1)
    assert shop.door.delete("/meters/spend").status == 204
    assert shop.door.delete("/meters/calls").status == 204


def test_record__event_that_nobody_can_price__is_flagged(shop: Shop) -> None:
    shop.door.made("/meters", SPEND)
    event = {"meter": "tokens", "quantity": "5", "agent": shop.agent["id"]}
    answer = shop.door.post("/usage", {"events": [{"id": "a", **event, "dimensions": {"model": "x"}}]})
    assert answer["results"][0]["flags"] == ["rate_missing"]
    derived = shop.door.post("/usage", {**event, "id": "b", "meter": "spend"})
    assert (derived.status, derived.code) == (422, "meter_derived")


def test_create__typed_dimensions_filter_and_value__come_back(shop: Shop) -> None:
    body = {
        "code": "longest",
        "aggregation": "max",
        "dimensions": ["model", {"name": "seconds", "type": "number"}, {"name": "status", "max_values": 5}],
        "value_from": "seconds",
        "filter": {"status": "succeeded"},
    }
    made = shop.door.made("/meters", body)
    assert {name: made[name] for name in body} == body
    assert made["rate_card"] is None


def test_from_template__makes_six_meters_with_the_prices_given(shop: Shop) -> None:
    made = shop.door.made(
        "/meters/from-template",
        {
            "prices": [
                {"model": "large", "input": "3", "output": "15", "cached_input": "0.3", "cache_write": "3.75"},
                {"provider": "anthropic", "input": 1, "output": 2, "reasoning": 4},
            ],
            "prefix": "acme_",
        },
    )
    codes = ["input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens"]
    assert [meter["code"] for meter in made["meters"]] == [f"acme_{code}" for code in codes]
    assert {tuple(meter["dimensions"]) for meter in made["meters"]} == {("model", "provider")}
    card = made["cost_meter"]["rate_card"]
    assert (made["cost_meter"]["code"], made["cost_meter"]["unit"]) == ("acme_llm_cost", "USD")
    assert [(row["meter"].removeprefix("acme_"), row["dimensions"], row["unit_price"]) for row in card] == [
        *zip(
            codes,
            [{"model": "large"}] * 5,
            ["0.000003", "0.000015", "0.0000003", "0.00000375", "0.000015"],
            strict=True,
        ),
        *zip(
            codes,
            [{"provider": "anthropic"}] * 5,
            ["0.000001", "0.000002", "0.000001", "0.000001", "0.000004"],
            strict=True,
        ),
    ]
    again = shop.door.post("/meters/from-template", {"prices": [], "prefix": "acme_"})
    assert (again.status, again.code) == (409, "code_taken")
    assert shop.door.patch("/meters/acme_llm_cost", {"rate_card": []})["rate_card"] == []


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"prices": [{"input": "1"}]}, {"prices.0.output": "required"}),
        ({"prices": [], "per": 7}, {"per": "invalid"}),
        ({"prices": [], "currency": "XXX1"}, {"currency": "too_long"}),
        ({"prices": [], "currency": "usd"}, {"unit": "invalid"}),
        ({"prices": [{"input": "0.0000001", "output": "1"}]}, {"prices.0.input": "quantity_too_precise"}),
    ],
)
def test_from_template__that_does_not_hold__makes_nothing(
    shop: Shop, body: dict[str, Any], fields: dict[str, str]
) -> None:
    answer = shop.door.post("/meters/from-template", body)
    assert (answer.status, answer.fields) == (422, fields)
    assert Meter.objects.count() == 1


def test_from_llm__usage_object__becomes_events_that_can_be_recorded(shop: Shop) -> None:
    shop.door.made("/meters/from-template", {"prices": [{"input": "3", "output": "15", "cached_input": "0.3"}]})
    answer = shop.door.post(
        "/usage/from-llm",
        {
            "format": "openai_chat",
            "id": "chatcmpl-1",
            "model": "large",
            "usage": {
                "prompt_tokens": 1200,
                "completion_tokens": 330,
                "prompt_tokens_details": {"cached_tokens": 1000},
                "completion_tokens_details": {"reasoning_tokens": 130},
            },
        },
    )
    assert answer["events"] == [
        {
            "id": f"chatcmpl-1/{meter}",
            "meter": meter,
            "quantity": quantity,
            "dimensions": {"model": "large", "provider": "openai"},
        }
        for meter, quantity in (
            ("input_tokens", "200"),
            ("output_tokens", "200"),
            ("cached_input_tokens", "1000"),
            ("reasoning_tokens", "130"),
        )
    ]
    recorded = shop.door.post("/usage", {"agent": shop.agent["id"], "events": answer["events"]})
    assert recorded["recorded"] == 4
    cost = shop.door.get("/usage?meter=llm_cost&from=2020-01-01T00:00:00Z")
    assert cost["total"] == "0.00585"


def test_from_llm__broken_object__is_422_that_names_the_place(shop: Shop) -> None:
    body = {"format": "gemini", "id": "1", "model": "m", "usage": {"promptTokenCount": -1}}
    assert shop.door.post("/usage/from-llm", body).fields == {"usage.promptTokenCount": "invalid"}
    assert shop.door.post("/usage/from-llm", body | {"usage": 7}).fields == {"usage": "wrong_type"}
    assert shop.door.post("/usage/from-llm", body | {"format": "other"}).fields == {"format": "invalid_choice"}


def test_template__of_another_workspace__is_its_own(shop: Shop) -> None:
    other = Door()
    other.made("/meters/from-template", {"prices": []})
    shop.door.made("/meters/from-template", {"prices": []})
    assert Meter.objects.for_tenant(other.tenant).count() == 6


def test_void__of_a_source_event__takes_back_its_amount(shop: Shop) -> None:
    shop.door.made("/meters", SPEND)
    budget = {"on": {"license": shop.license["id"]}, "meter": "spend", "limit": "1", "period": "month"}
    shop.door.made("/quotas", budget)
    for id in ("a", "b"):
        event = {"id": id, "meter": "tokens", "quantity": "5000", "dimensions": {"model": "large"}}
        shop.door.post("/usage", {**event, "agent": shop.agent["id"]})
    assert _used(shop, "spend") == "0.1"
    assert shop.door.post("/usage/void", {"id": "a"}).status == 200
    assert (_used(shop, "spend"), _used(shop, "tokens")) == ("0.05", "5000")


@pytest.mark.parametrize(("aggregation", "before", "after"), [("max", "9", "2"), ("latest", "9", "2")])
def test_void__of_the_event_that_stands__brings_back_the_one_before(
    shop: Shop, aggregation: str, before: str, after: str
) -> None:
    shop.door.made("/meters", {"code": "peak", "aggregation": aggregation})
    budget = {"on": {"license": shop.license["id"]}, "meter": "peak", "limit": "100", "period": "month"}
    shop.door.made("/quotas", budget)
    for id, quantity in (("a", "2"), ("b", "9")):
        shop.door.post("/usage", {"id": id, "meter": "peak", "quantity": quantity, "agent": shop.agent["id"]})
    assert _used(shop, "peak") == before
    assert shop.door.post("/usage/void", {"id": "b"}).status == 200
    assert _used(shop, "peak") == after


def _used(shop: Shop, meter: str) -> str:
    quotas = shop.door.get(f"/quotas?license={shop.license['id']}")["data"]
    return str(next(quota["used"] for quota in quotas if quota["meter"] == meter))
