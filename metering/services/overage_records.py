"""Overage records: what a billed balance's excess costs, written so that a final record never changes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import structlog
from django.db import connection

from common.ids import Prefix, encode_id, new_id
from common.quantities import format_quantity
from metering.domain.enums import OverageStatus
from metering.domain.numbers import EXACT
from metering.domain.prices import PriceTerms
from metering.domain.rating import RatedAmount, rate
from metering.models import Price
from metering.selectors.billing import Excess
from metering.selectors.prices import price_terms

log = structlog.get_logger(__name__)

#: Accruing takes it exclusively, closing shared: so no open record is written for a balance that was closed meanwhile.
_LOCK = (0x6D657465, 2)

# The record follows the licence to whoever holds it; an excess of an ended period names who held it at the end.
_WRITE = """
INSERT INTO metering_overagerecord AS record (
    id, tenant_id, quota_id, quota_key, scope, subject_id, balance_id, meter_id, license_id, customer_id, period_start,
    period_end, status, "limit", used, quantity, amount, currency, lines, price, finalized_at, status_reason,
    created_at, updated_at)
SELECT id, tenant_id, quota_id, quota_key, scope, subject_id, balance_id, meter_id, subject_id, customer_id,
       period_start, period_end, %(status)s, "limit", used, quantity, amount, currency, lines, price,
       %(finalized_at)s, '', clock_timestamp(), clock_timestamp()
FROM jsonb_to_recordset(%(rows)s::jsonb) AS new (
    id uuid, tenant_id uuid, quota_id uuid, quota_key uuid, scope text, subject_id uuid, balance_id uuid, meter_id uuid,
    customer_id uuid, period_start timestamptz, period_end timestamptz, "limit" numeric, used numeric,
    quantity numeric, amount numeric, currency text, lines jsonb, price jsonb)
ORDER BY balance_id
ON CONFLICT (tenant_id, quota_key, subject_id, period_start) WHERE status IN ('open', 'finalized')
DO UPDATE SET
    status = excluded.status, finalized_at = excluded.finalized_at, quota_id = excluded.quota_id,
    "limit" = excluded."limit", used = excluded.used, quantity = excluded.quantity, amount = excluded.amount,
    currency = excluded.currency, lines = excluded.lines, price = excluded.price, updated_at = excluded.updated_at,
    customer_id = excluded.customer_id
WHERE record.status = 'open' AND (
    excluded.status <> 'open' OR record.used <> excluded.used OR record."limit" <> excluded."limit"
    OR record.customer_id <> excluded.customer_id OR record.price <> excluded.price
    OR record.amount <> excluded.amount)
RETURNING record.id, record.balance_id
"""

_WITHDRAW = """
DELETE FROM metering_overagerecord AS record
WHERE record.status = 'open'
  AND (record.tenant_id, record.license_id) IN (SELECT * FROM unnest(%(tenants)s::uuid[], %(licenses)s::uuid[]))
  AND (%(balances)s::uuid[] IS NULL OR record.balance_id = ANY(%(balances)s::uuid[]))
  AND NOT record.balance_id = ANY(%(kept)s::uuid[])
"""

#: Before the point, as the table has them.
_AMOUNT_DIGITS = 34


@dataclass(frozen=True, slots=True)
class RatedExcess:
    """An excess, how much of it there is, and what it costs."""

    excess: Excess
    quantity: Decimal
    price: Price
    terms: PriceTerms
    rated: RatedAmount


def lock_accrual() -> None:
    """Keep other accruals and closings out until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", _LOCK)


def lock_closing() -> None:
    """Keep accruals out until the transaction ends; other closings go on."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", _LOCK)


def rate_excesses(excesses: Iterable[Excess]) -> list[RatedExcess]:
    """What each excess costs: exact lines, and an amount rounded once to the currency's minor unit.

    One whose price cannot be applied is logged and left out, so that it never holds up the others.
    """
    found = list(excesses)
    prices = Price.objects.in_bulk({each.price_id for each in found})
    rated = []
    for each in found:
        try:
            rated.append(_rate(each, prices[each.price_id]))
        except (ValueError, ArithmeticError) as error:
            log.error(  # noqa: TRY400 (the reason is the price's, not the code's)
                "overage.not_rated", balance=str(each.balance_id), price=str(each.price_id), reason=str(error)
            )
    return rated


def write_records(
    rated: Sequence[RatedExcess], *, status: OverageStatus, finalized_at: datetime | None = None
) -> dict[UUID, UUID]:
    """Upsert the records of these excesses; those changed, as record ids by balance id.

    An open record is brought up to date, or made final; a final one is left alone.
    """
    if not rated:
        return {}
    arguments = {
        "rows": json.dumps([_row(each) for each in rated]),
        "status": status,
        "finalized_at": finalized_at,
    }
    with connection.cursor() as cursor:
        cursor.execute(_WRITE, arguments)
        return {balance_id: record_id for record_id, balance_id in cursor.fetchall()}


def withdraw_records(
    licenses: Iterable[tuple[UUID, UUID]], *, kept: Iterable[UUID], balances: Iterable[UUID] | None = None
) -> int:
    """Delete the open records of these licences, given as (tenant, licence), where nothing is over any more.

    Those of the balances `kept` stay; with `balances`, so do those of all others. Returns how many went.
    """
    pairs = list(licenses)
    arguments = {
        "tenants": [tenant for tenant, _ in pairs],
        "licenses": [license for _, license in pairs],
        "balances": None if balances is None else list(balances),
        "kept": list(kept),
    }
    with connection.cursor() as cursor:
        cursor.execute(_WITHDRAW, arguments)
        withdrawn: int = cursor.rowcount
    return withdrawn


def lines_as_json(rated: RatedAmount) -> list[dict[str, str]]:
    """The working of an amount as a record keeps and shows it."""
    return [
        {
            "description": line.description,
            "quantity": format_quantity(line.quantity),
            "unit_price": format_quantity(line.unit_price),
            "amount": format_quantity(line.amount),
        }
        for line in rated.lines
    ]


def price_as_json(price: Price, terms: PriceTerms) -> dict[str, Any]:
    """The copy of a price that a record keeps: `PriceTerms.from_mapping` reads it back."""
    numbers = ("unit_price", "package_size", "package_price", "included_units", "minimum", "maximum")
    copy: dict[str, Any] = {
        "id": encode_id(Prefix.PRICE, price.id),
        "model": str(terms.model),
        "currency": terms.currency,
        "starts_at": price.starts_at.isoformat() if price.starts_at else None,
    }
    copy |= {name: None if (value := getattr(terms, name)) is None else format_quantity(value) for name in numbers}
    copy["tiers"] = [
        {
            "up_to": None if tier.up_to is None else format_quantity(tier.up_to),
            "unit_price": format_quantity(tier.unit_price),
            "flat_fee": format_quantity(tier.flat_fee),
        }
        for tier in terms.tiers
    ]
    return {name: value for name, value in copy.items() if value not in (None, [])}


def _rate(excess: Excess, price: Price) -> RatedExcess:
    quantity = EXACT.subtract(excess.used, excess.allowance)
    terms = price_terms(price)
    rated = rate(quantity, terms)
    if rated.amount.adjusted() >= _AMOUNT_DIGITS:
        raise ArithmeticError("The amount is larger than a record can hold.")
    return RatedExcess(excess, quantity, price, terms, rated)


def _row(each: RatedExcess) -> Mapping[str, Any]:
    excess = each.excess
    return {
        "id": str(new_id()),
        "tenant_id": str(excess.tenant_id),
        "quota_id": str(excess.quota_id),
        "quota_key": str(excess.quota_key),
        "scope": excess.scope,
        "subject_id": str(excess.license_id),
        "balance_id": str(excess.balance_id),
        "meter_id": str(excess.meter_id),
        "customer_id": str(excess.customer_id),
        "period_start": excess.period_start.isoformat(),
        "period_end": excess.period_end.isoformat() if excess.period_end else None,
        "limit": format_quantity(excess.allowance),
        "used": format_quantity(excess.used),
        "quantity": format_quantity(each.quantity),
        "amount": format_quantity(each.rated.amount),
        "currency": each.terms.currency,
        "lines": lines_as_json(each.rated),
        "price": price_as_json(each.price, each.terms),
    }
