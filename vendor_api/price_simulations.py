"""A proposed price asked about: read, looked up, rated, added up."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from common.errors import Invalid
from common.ids import Prefix, decode_id
from licenses.models import License
from licenses.selectors.lookup import get_plan
from metering.domain.money import round_money
from metering.domain.numbers import EXACT, ZERO
from metering.selectors.price_simulation import SimulatedLine, simulate_price
from metering.services.overage_records import lines_as_json
from metering.services.prices import read_price
from metering.services.statements import month_of
from tenants.models import Tenant
from tenants.selectors.customers import resolve_customer

DEFAULT_LINES: Final = 200


def simulation_asked_for(tenant: Tenant, asked: Mapping[str, Any], *, at: datetime) -> dict[str, Any]:
    """Rate the usage that is asked about; `at` is the workspace's time. Raises NotFound and Invalid."""
    plan = get_plan(tenant, asked["plan"])
    price = read_price(tenant, asked["price"], "price")
    window = month_of(tenant, asked.get("period_start") or month_of(tenant, at).start - timedelta(microseconds=1))
    try:
        found = simulate_price(
            tenant,
            plan_id=plan.id,
            meter=price.meter,
            filter=dict(price.filter),
            terms=price.terms,
            start=window.start,
            end=window.end or at,
            licenses=_licenses(tenant, asked),
            after=_cursor(asked.get("cursor")),
            limit=asked.get("limit") or DEFAULT_LINES,
        )
    except ArithmeticError as error:
        raise Invalid.field("price", "out_of_range", f"An amount cannot be worked out: {error}") from error
    currency = price.terms.currency
    return {
        "data": [_shown(line) for line in found.lines],
        "currency": currency,
        "totals": _totals(found.lines, currency),
        "next_cursor": None if found.next_after is None else found.next_after.hex,
    }


def _shown(line: SimulatedLine) -> dict[str, Any]:
    standing = line.standing
    return {
        "license": standing.license_id,
        "customer": standing.customer_id,
        "period_start": standing.period_start,
        "period_end": standing.period_end,
        "used": standing.used,
        "included": standing.allowance,
        "quantity": line.quantity,
        "present": None if line.present is None else f"{line.present.amount:f}",
        "proposed": f"{line.proposed.amount:f}",
        "lines": lines_as_json(line.proposed),
    }


def _totals(lines: Any, currency: str) -> list[dict[str, str]]:
    sums: dict[str, list[Decimal]] = {currency: [ZERO, ZERO]}
    for line in lines:
        if line.present is not None:
            of_present = sums.setdefault(line.present_currency, [ZERO, ZERO])
            of_present[0] = EXACT.add(of_present[0], line.present.amount)
        sums[currency][1] = EXACT.add(sums[currency][1], line.proposed.amount)
    return [
        {
            "currency": each,
            "present": f"{round_money(present, each):f}",
            "proposed": f"{round_money(proposed, each):f}",
            "difference": f"{round_money(EXACT.subtract(proposed, present), each):f}",
        }
        for each, (present, proposed) in sorted(sums.items())
    ]


def _licenses(tenant: Tenant, asked: Mapping[str, Any]) -> list[UUID] | None:
    """The licences that usage is narrowed to; None for all."""
    if asked.get("license") is not None:
        try:
            return [decode_id(Prefix.LICENSE, asked["license"])]
        except ValueError:
            raise Invalid.field("license", "not_found", "There is no such license.") from None
    if asked.get("customer") is not None:
        customer = resolve_customer(tenant, asked["customer"])
        return list(License.objects.for_tenant(tenant).filter(customer=customer).values_list("id", flat=True))
    return None


def _cursor(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(hex=text)
    except ValueError:
        raise Invalid.field("cursor", "invalid", "Take next_cursor from the page before.") from None
