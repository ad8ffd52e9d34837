"""A workspace's meters as the ledger needs them, with what their rate cards derive from them."""

from collections import defaultdict
from collections.abc import Mapping
from uuid import UUID

from metering.domain.enums import Aggregation, DimensionType
from metering.domain.numbers import EXACT
from metering.domain.rate_cards import Rate
from metering.domain.terms import CostTerms, MeterRules, MeterTerms
from metering.models import Meter, RateCardEntry
from metering.selectors.meters import declared_dimensions

_Costs = Mapping[UUID, tuple[CostTerms, ...]]


def load_meters(tenant_id: UUID) -> dict[str, MeterTerms]:
    """All meters in use, by code. Rate cards are read only where there is a cost meter."""
    meters = list(Meter.objects.for_tenant(tenant_id).filter(archived_at__isnull=True))
    derived = {meter.id: _terms(meter, {}) for meter in meters if meter.derived}
    costs = _costs(tenant_id, derived) if derived else {}
    return {meter.code: derived.get(meter.id) or _terms(meter, costs) for meter in meters}


def _costs(tenant_id: UUID, derived: Mapping[UUID, MeterTerms]) -> _Costs:
    """What each source meter's events come to, in the order of the cost meters' codes."""
    rows: dict[UUID, dict[UUID, list[Rate]]] = defaultdict(lambda: defaultdict(list))
    for entry in RateCardEntry.objects.for_tenant(tenant_id).filter(meter_id__in=derived):
        rate = Rate(entry.unit_price.normalize(EXACT), entry.dimensions, entry.starts_at, entry.ends_at)
        rows[entry.source_id][entry.meter_id].append(rate)
    in_order = sorted(derived.values(), key=lambda meter: meter.code)
    return {
        source_id: tuple(CostTerms(meter, tuple(of_source[meter.id])) for meter in in_order if meter.id in of_source)
        for source_id, of_source in rows.items()
    }


def _terms(meter: Meter, costs: _Costs) -> MeterTerms:
    aggregation = Aggregation(meter.aggregation)
    rules = MeterRules(
        value_from=meter.value_from,
        filter=meter.filter,
        types={
            each["name"]: DimensionType(each["type"])
            for each in meter.dimensions
            if isinstance(each, dict) and each.get("type")
        },
        max_values={
            each["name"]: each["max_values"]
            for each in meter.dimensions
            if isinstance(each, dict) and each.get("max_values")
        },
        costs=costs.get(meter.id, ()),
    )
    return MeterTerms(
        id=meter.id,
        code=meter.code,
        aggregation=aggregation,
        dimensions=declared_dimensions(meter),
        event_types=tuple(meter.event_types),
        derived=meter.derived,
        rules=None if aggregation.adds_up and rules == MeterRules() else rules,
    )
