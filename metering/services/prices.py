"""A plan's prices: checked, written, and never without the quota that they bill."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from common.currencies import CURRENCIES
from common.errors import Invalid
from common.quantities import format_quantity
from metering.domain.enums import Period, QuotaMode, Scope
from metering.domain.rating import PriceError, PriceTerms
from metering.models import Meter, Price, Quota
from metering.selectors.meters import declared_dimensions, resolve_meter
from metering.selectors.prices import list_prices, price_terms
from metering.services.validation import at, filter_field, refuse
from tenants.domain.actors import Actor
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services import fields as checks
from tenants.services.auditing import record_audit
from tenants.services.changes import plain

MAX_PRICES: Final = 200

_TERMS = (
    "model",
    "currency",
    "unit_price",
    "package_size",
    "package_price",
    "tiers",
    "included_units",
    "minimum",
    "maximum",
)
_FIELDS = ("meter", "filter", "starts_at", *_TERMS)

Slot = tuple[UUID, tuple[tuple[str, str], ...], datetime | None]
"""What a price is for: meter, filter and start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSpec:
    """A price before it has a plan."""

    meter: Meter
    filter: Mapping[str, str]
    starts_at: datetime | None
    terms: PriceTerms

    @property
    def slot(self) -> Slot:
        """A plan has one price for each."""
        return self.meter.id, tuple(sorted(self.filter.items())), self.starts_at

    def columns(self) -> dict[str, Any]:
        """The columns of its row, but for the plan."""
        tiers = [
            {
                "up_to": None if tier.up_to is None else format_quantity(tier.up_to),
                "unit_price": format_quantity(tier.unit_price),
                "flat_fee": format_quantity(tier.flat_fee),
            }
            for tier in self.terms.tiers
        ]
        terms = {name: getattr(self.terms, name) for name in _TERMS}
        return {**terms, "tiers": tiers, "meter": self.meter, "filter": dict(self.filter), "starts_at": self.starts_at}


def read_prices(tenant: Tenant, value: object, *, path: str = "prices") -> list[PriceSpec]:
    """The prices that a plan's body lists. Without a currency, one is in the tenant's.

    Raises Invalid for the field, with the document's code `currency_mixed` where they are not all in one currency and
    `price_repeated` where two are for the same meter, filter and start.
    """
    specs = [read_price(tenant, each, place) for place, each in checks.entries(value, path, most=MAX_PRICES)]
    slots: set[Slot] = set()
    for position, spec in enumerate(specs):
        if spec.terms.currency != specs[0].terms.currency:
            raise refuse(f"{path}.{position}.currency", "currency_mixed", "All prices of a plan are in one currency.")
        if spec.slot in slots:
            detail = "The plan has a price for this meter and filter from the same time on already."
            raise refuse(f"{path}.{position}", "price_repeated", detail)
        slots.add(spec.slot)
    return specs


def replace_prices(tenant: Tenant, actor: Actor, plan_id: UUID, specs: Sequence[PriceSpec]) -> bool:
    """Make `specs` a plan's prices; whether anything changed. Inside the caller's transaction, under its lock.

    A price that is the same stays; one that changed is archived and made anew, as its terms may be on bills.
    """
    wanted = {spec.slot: spec for spec in specs}
    changed = False
    for price in list_prices(tenant).filter(plan_id=plan_id).order_by("created_at", "id"):
        slot = price.meter_id, tuple(sorted(price.filter.items())), price.starts_at
        if slot in wanted and wanted[slot].terms == price_terms(price):
            del wanted[slot]
            continue
        # Compared with the starts of periods, which are the workspace's time.
        price.archived_at = clock_of(tenant).now()
        price.save(update_fields=["archived_at", "updated_at"])
        record_audit(tenant_id=tenant.id, actor=actor, action="price.archived", target=price)
        changed = True
    for spec in wanted.values():
        price = Price.objects.create(tenant=tenant, plan_id=plan_id, **spec.columns())
        changes = {
            "meter": [None, spec.meter.code],
            **{name: [None, plain(getattr(price, name))] for name in _FIELDS[1:]},
        }
        record_audit(tenant_id=tenant.id, actor=actor, action="price.created", target=price, changes=changes)
        changed = True
    return changed


def check_priced(tenant: Tenant, plan_id: UUID | None, *, path: str = "prices") -> None:
    """Every price of the plan has exactly one quota to bill: soft, of scope license, on the same meter and filter.

    Raises Invalid `price_without_quota`, `price_ambiguous`, or `price_never_bills` where its start leaves nothing to
    bill; a plan's quotas and prices are looked at as they are now.
    """
    if plan_id is None:
        return
    soft = Quota.objects.for_tenant(tenant).filter(
        plan_id=plan_id, archived_at__isnull=True, scope=Scope.LICENSE, mode=QuotaMode.SOFT
    )
    billable = [(quota.meter_id, quota.filter) for quota in soft]
    for_ever = [(quota.meter_id, quota.filter) for quota in soft if quota.period == Period.LIFETIME]
    prices = list_prices(tenant).filter(plan_id=plan_id).order_by("created_at", "id")
    for position, price in enumerate(prices):
        found = billable.count((price.meter_id, price.filter))
        if found == 0:
            detail = (
                f"The price on {price.meter.code} has nothing to bill: the plan needs a soft quota of scope license "
                "on the same meter and filter (of 0 for plain pay-per-use)."
            )
            raise refuse(at(path, str(position)), "price_without_quota", detail)
        if found > 1:
            detail = f"The price on {price.meter.code} would bill twice: the plan has soft quotas of several periods."
            raise refuse(at(path, str(position)), "price_ambiguous", detail)
        if price.starts_at is not None and (price.meter_id, price.filter) in for_ever:
            detail = (
                f"The price on {price.meter.code} would never bill anything: the quota's period is a lifetime, which "
                "began before any price. Leave starts_at out."
            )
            raise refuse(at(path, f"{position}.starts_at"), "price_never_bills", detail)


def read_price(tenant: Tenant, fields: Mapping[str, Any], path: str) -> PriceSpec:
    """One price; `path` is where it stands in the body. Without a currency it is in the tenant's. Raises Invalid."""
    checks.only_keys(fields, path, _FIELDS)
    meter = resolve_meter(tenant, fields.get("meter"), field=at(path, "meter"))
    currency = fields.get("currency")
    try:
        terms = PriceTerms.from_mapping({**fields, "currency": tenant.currency if currency is None else currency})
    except PriceError as error:
        raise Invalid.field(at(path, error.field), error.code, error.detail) from error
    if terms.currency not in CURRENCIES:
        detail = f"ISO 4217 lists no currency {terms.currency}."
        raise Invalid.field(at(path, "currency"), "currency_invalid", detail)
    return PriceSpec(
        meter=meter,
        filter=filter_field(at(path, "filter"), fields.get("filter"), declared_dimensions(meter)),
        starts_at=checks.optional_instant(fields.get("starts_at"), at(path, "starts_at")),
        terms=terms,
    )
