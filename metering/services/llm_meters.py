"""The built-in template: meters for what LLM providers bill, and a cost meter with the vendor's own prices.

What is made are ordinary meters: they can be changed, added to and archived like any other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.db import transaction

from common.errors import Invalid
from metering.domain.numbers import EXACT
from metering.domain.rate_cards import MAX_UNIT_PRICE
from metering.models import Meter
from metering.services.meters import create_meter
from metering.services.validation import at, quantity_field
from tenants.domain.actors import Actor
from tenants.models import Tenant
from tenants.services import fields

MAX_PRICES: Final = 200
COST_METER: Final = "llm_cost"
DIMENSIONS: Final = ("model", "provider")

#: Meter, name, the price of it, and whose price it has where none is given.
_METERS: Final = (
    ("input_tokens", "Input tokens", "input", None),
    ("output_tokens", "Output tokens", "output", None),
    ("cached_input_tokens", "Input tokens read from a cache", "cached_input", "input"),
    ("cache_write_tokens", "Input tokens written to a cache", "cache_write", "input"),
    ("reasoning_tokens", "Reasoning tokens", "reasoning", "output"),
)
_PER: Final = {1: 0, 1000: -3, 1_000_000: -6}
_FIELDS: Final = ("model", "provider", "starts_at", "ends_at", *(price for _, _, price, _ in _METERS))


@dataclass(frozen=True, slots=True)
class LlmMeters:
    """What the template made: meters of input, output, cached, written and reasoning tokens, and that of their cost."""

    meters: tuple[Meter, ...]
    cost_meter: Meter


def create_llm_meters(
    *,
    tenant: Tenant,
    actor: Actor,
    prices: Sequence[Mapping[str, Any]],
    currency: str | None = None,
    per: int = 1_000_000,
    prefix: str = "",
) -> LlmMeters:
    """Make the template's meters with these prices, all or nothing.

    A price row is for a model, a provider, both or (with neither) all else, and costs `input` and `output` for `per`
    tokens; `cached_input` and `cache_write` are those of the input unless given, `reasoning` that of the output.
    `prefix` stands before each meter's code. Raises Invalid, Conflict `code_taken` or `event_type_taken`.
    """
    if per not in _PER:
        raise Invalid.field("per", "invalid", "Prices are for 1, 1000 or 1000000 tokens.")
    rows = [_prices(each, place, _PER[per]) for place, each in fields.entries(prices, "prices", most=MAX_PRICES)]
    with transaction.atomic():
        meters = tuple(
            create_meter(
                tenant=tenant,
                actor=actor,
                code=f"{prefix}{code}",
                name=name,
                unit="token",
                dimensions=DIMENSIONS,
            )
            for code, name, _, _ in _METERS
        )
        card = [
            {**row.terms, "meter": meter.code, "unit_price": row.of[price]}
            for row in rows
            for meter, (_, _, price, _) in zip(meters, _METERS, strict=True)
        ]
        cost_meter = create_meter(
            tenant=tenant, actor=actor, code=f"{prefix}{COST_METER}", name="LLM cost", unit=currency, rate_card=card
        )
    return LlmMeters(meters, cost_meter)


@dataclass(frozen=True, slots=True)
class _Row:
    """A price row: what it is for, and the price of one token of each kind."""

    terms: Mapping[str, Any]
    of: Mapping[str, Decimal]


def _prices(given: Mapping[str, Any], path: str, shift: int) -> _Row:
    fields.only_keys(given, path, _FIELDS)
    of: dict[str, Decimal] = {}
    for _, _, name, fallback in _METERS:
        value = given.get(name)
        if value is None and fallback is not None:
            of[name] = of[fallback]
            continue
        price = quantity_field(at(path, name), value)
        if price > MAX_UNIT_PRICE:
            detail = "A price is at most 1000000; check for how many tokens it is."
            raise Invalid.field(at(path, name), "quantity_out_of_range", detail)
        of[name] = price.scaleb(shift, EXACT)
        if -int(of[name].as_tuple().exponent) > _MOST_DECIMALS:
            detail = "The price of one token has at most 12 decimals: 6 where prices are for a million."
            raise Invalid.field(at(path, name), "quantity_too_precise", detail)
    dimensions = {name: fields.text(given[name], at(path, name)) for name in DIMENSIONS if given.get(name) is not None}
    terms = {"dimensions": dimensions, "starts_at": given.get("starts_at"), "ends_at": given.get("ends_at")}
    return _Row(terms, of)


_MOST_DECIMALS: Final = 12
