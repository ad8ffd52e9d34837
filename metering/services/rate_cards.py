"""Rate cards of cost meters: checked, and written row by row under the caller's lock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from common.errors import Invalid
from metering.domain.rate_cards import MAX_UNIT_PRICE, Rate, overlapping
from metering.models import Meter, RateCardEntry
from metering.selectors.meters import declared_dimensions, resolve_meter
from metering.services.validation import at, filter_field, quantity_field, refuse
from tenants.models import Tenant
from tenants.services import fields as checks
from tenants.services.changes import plain

MAX_ROWS: Final = 1000

_FIELDS = ("meter", "dimensions", "unit_price", "starts_at", "ends_at")


@dataclass(frozen=True, slots=True)
class CardRow:
    """A row of a rate card before it is stored."""

    source: Meter
    rate: Rate

    @property
    def slot(self) -> tuple[Any, ...]:
        """What makes it the same row."""
        rate = self.rate
        return (
            self.source.id,
            tuple(sorted(rate.dimensions.items())),
            rate.unit_price,
            rate.starts_at,
            rate.ends_at,
        )

    def shown(self) -> dict[str, Any]:
        """As the audit trail tells of it."""
        rate = self.rate
        return {
            "meter": self.source.code,
            "dimensions": dict(rate.dimensions),
            "unit_price": plain(rate.unit_price),
            "starts_at": plain(rate.starts_at),
            "ends_at": plain(rate.ends_at),
        }


def read_rate_card(tenant: Tenant, value: object, *, path: str = "rate_card") -> list[CardRow]:
    """The rows that a body lists: the price of a unit of a source meter, for dimensions and a stretch of time.

    Raises Invalid for the field, with the document's code `rate_repeated` where two rows of equal dimensions are in
    force at the same time, and `aggregation_unsupported` for sources that do not add up.
    """
    rows = [_row(tenant, each, place) for place, each in checks.entries(value, path, most=MAX_ROWS)]
    by_source: dict[UUID, list[tuple[int, Rate]]] = {}
    for position, row in enumerate(rows):
        by_source.setdefault(row.source.id, []).append((position, row.rate))
    for of_source in by_source.values():
        clash = overlapping([rate for _, rate in of_source])
        if clash is not None:
            earlier, later = (of_source[each][0] for each in clash)
            detail = (
                f"Row {earlier} has a price for the same meter and dimensions at the same time: let it end where this "
                "one starts."
            )
            raise refuse(f"{path}.{later}", "rate_repeated", detail)
    return rows


def stored_rows(meter: Meter) -> dict[tuple[Any, ...], tuple[RateCardEntry, CardRow]]:
    """The card as it is kept, by slot."""
    entries = RateCardEntry.objects.for_tenant(meter.tenant_id).filter(meter=meter).select_related("source")
    kept = {}
    for entry in entries.order_by("created_at", "id"):
        row = CardRow(entry.source, Rate(entry.unit_price, entry.dimensions, entry.starts_at, entry.ends_at))
        kept[row.slot] = (entry, row)
    return kept


def replace_rate_card(meter: Meter, rows: Sequence[CardRow]) -> list[Any] | None:
    """Make these rows the card; the change as the audit trail tells it, None if there is none.

    What was counted keeps its amounts. Inside the caller's transaction, under its lock.
    """
    kept = stored_rows(meter)
    wanted = {row.slot: row for row in rows}
    if wanted.keys() == kept.keys():
        return None
    before = [row.shown() for _, row in kept.values()]
    gone = [entry.id for slot, (entry, _) in kept.items() if slot not in wanted]
    RateCardEntry.objects.for_tenant(meter.tenant_id).filter(id__in=gone).delete()
    RateCardEntry.objects.bulk_create(
        RateCardEntry(
            tenant_id=meter.tenant_id,
            meter=meter,
            source=row.source,
            dimensions=dict(row.rate.dimensions),
            unit_price=row.rate.unit_price,
            starts_at=row.rate.starts_at,
            ends_at=row.rate.ends_at,
        )
        for slot, row in wanted.items()
        if slot not in kept
    )
    return [before, [row.shown() for row in rows]]


def source_dimensions(rows: Sequence[CardRow]) -> list[str]:
    """The dimensions of all source meters: derived events copy them."""
    return list(dict.fromkeys(name for row in rows for name in declared_dimensions(row.source)))


def _row(tenant: Tenant, given: Mapping[str, Any], path: str) -> CardRow:
    checks.only_keys(given, path, _FIELDS)
    source = resolve_meter(tenant, given.get("meter"), field=at(path, "meter"))
    if source.derived:
        raise Invalid.field(at(path, "meter"), "meter_derived", "A cost meter is not derived from another one.")
    if source.aggregation not in ("sum", "count"):
        detail = f"A {source.aggregation} meter does not add up, so its events have no price each."
        raise refuse(at(path, "meter"), "aggregation_unsupported", detail)
    unit_price = quantity_field(at(path, "unit_price"), given.get("unit_price"))
    if unit_price > MAX_UNIT_PRICE:
        detail = "A unit costs at most 1000000; measure in larger units."
        raise Invalid.field(at(path, "unit_price"), "quantity_out_of_range", detail)
    starts_at = checks.optional_instant(given.get("starts_at"), at(path, "starts_at"))
    ends_at = checks.optional_instant(given.get("ends_at"), at(path, "ends_at"))
    if starts_at is not None and ends_at is not None and ends_at <= starts_at:
        raise Invalid.field(at(path, "ends_at"), "range_empty", "A row ends after it starts.")
    dimensions = filter_field(at(path, "dimensions"), given.get("dimensions"), declared_dimensions(source))
    return CardRow(source, Rate(unit_price, dimensions, starts_at, ends_at))
