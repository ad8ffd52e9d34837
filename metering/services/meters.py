"""Making, changing and archiving meters."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from msgspec import UNSET, UnsetType

from common.clock import real_clock
from common.epochs import EpochKey
from common.errors import Conflict, Invalid
from metering.domain.enums import Aggregation
from metering.models import Meter, Price, Quota, RateCardEntry
from metering.selectors.meters import declared_dimensions, has_events, list_meters
from metering.services.meter_fields import join_dimensions, name_of, read_dimensions, read_value_from
from metering.services.rate_cards import CardRow, read_rate_card, replace_rate_card, source_dimensions
from metering.services.validation import filter_field
from tenants.domain.actors import Actor
from tenants.domain.enums import EpochKind
from tenants.models import Tenant
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import apply_changes
from tenants.services.epochs import bump_epochs, republish
from tenants.services.locks import lock_configuration

MAX_EVENT_TYPES: Final = 20
DEFAULT_UNIT: Final = "unit"

_WHAT_COUNTS = ("aggregation", "value_from", "filter")
"""What stays once something was recorded: a balance would no longer be what its events come to."""


def create_meter(
    *,
    tenant: Tenant,
    actor: Actor,
    code: str,
    name: str | None = None,
    unit: str | None = None,
    aggregation: str = Aggregation.SUM,
    dimensions: Sequence[str | Mapping[str, Any]] = (),
    event_types: Sequence[str] | None = None,
    value_from: str | None = None,
    filter: Mapping[str, Any] | None = None,
    rate_card: Sequence[Mapping[str, Any]] | None = None,
) -> Meter:
    """Make a meter; without a name or event types it has its code for both.

    With a rate card it is a cost meter: its unit is a currency (the workspace's, unless said), its dimensions are those
    of its sources, and from now on every event of a source comes to an amount on it.

    Raises Invalid (422) for bad fields, with the document's code `aggregation_unsupported` and `rate_repeated` where a
    rate card cannot be; Conflict (409) `code_taken` or `event_type_taken`.
    """
    code = fields.code(code)
    member = fields.member(aggregation, "aggregation", Aggregation)
    declared = read_dimensions(dimensions)
    rows = None if rate_card is None else read_rate_card(tenant, rate_card)
    if rows is not None:
        _check_cost_meter(member, value_from, filter, event_types)
        declared = join_dimensions(declared, source_dimensions(rows))
        unit = fields.currency(tenant.currency if unit is None else unit, "unit")
        event_types = []
    values: dict[str, Any] = {
        "code": code,
        "name": fields.text(code if name is None else name, "name", max_length=200),
        "unit": fields.text(DEFAULT_UNIT if unit is None else unit, "unit", max_length=32),
        "aggregation": member,
        "dimensions": declared,
        "event_types": _event_types([code] if event_types is None else event_types),
        "value_from": read_value_from(value_from, member, declared),
        "filter": filter_field("filter", filter, [name_of(each) for each in declared]),
    }
    with transaction.atomic():
        lock_configuration(tenant.id)
        if Meter.objects.for_tenant(tenant).filter(code=code).exists():
            raise Conflict("code_taken", "A meter has this code already; that of an archived one is not used again.")
        _refuse_taken_event_types(tenant.id, values["event_types"])
        meter = Meter.objects.create(tenant=tenant, derived=rows is not None, **values)
        changes = {field: [None, value] for field, value in values.items() if value or field not in _SELDOM}
        if rows is not None:
            _keep_sources(rows)
            changes["rate_card"] = replace_rate_card(meter, rows) or [[], []]
        record_audit(tenant_id=tenant.id, actor=actor, action="meter.created", target=meter, changes=changes)
        bump_epochs(tenant.id, EpochKey(EpochKind.TENANT, tenant.id))
    return meter


_SELDOM = ("value_from", "filter")


def update_meter(
    *,
    tenant: Tenant,
    meter_id: UUID,
    actor: Actor,
    code: str | UnsetType = UNSET,
    name: str | UnsetType = UNSET,
    unit: str | UnsetType = UNSET,
    aggregation: str | UnsetType = UNSET,
    dimensions: Sequence[str | Mapping[str, Any]] | UnsetType = UNSET,
    event_types: Sequence[str] | UnsetType = UNSET,
    value_from: str | UnsetType | None = UNSET,
    filter: Mapping[str, Any] | UnsetType | None = UNSET,
    rate_card: Sequence[Mapping[str, Any]] | UnsetType | None = UNSET,
) -> Meter:
    """Change what is given. The code stays (Invalid `immutable`).

    A rate card is replaced as a whole: it prices what occurs from then on, and what was counted keeps its amounts.
    Dimensions can always be added; one is taken away only while nothing was recorded and no quota, price or rate card
    names it; aggregation, filter and the source of the value change only while nothing was recorded. Raises NotFound,
    Invalid, Conflict `meter_archived`, `meter_has_events`, `dimension_in_use` or `event_type_taken`.
    """
    values = _read_changes(
        aggregation=aggregation, name=name, unit=unit, dimensions=dimensions, event_types=event_types
    )
    rows = None if rate_card is UNSET or rate_card is None else read_rate_card(tenant, rate_card)
    with transaction.atomic():
        lock_configuration(tenant.id)
        meter = Meter.objects.for_tenant(tenant).select_for_update().get_or_raise(meter_id)
        if meter.archived_at is not None:
            raise Conflict("meter_archived", "An archived meter does not change any more.")
        if code is not UNSET:
            fields.immutable(code, meter.code, "code")
        _complete(meter, values, value_from=value_from, filter=filter)
        if meter.derived:
            _complete_cost_meter(meter, values, rows)
        elif rows is not None:
            detail = "A meter is made with a rate card or without one: make a cost meter beside this one."
            raise Invalid.field("rate_card", "not_allowed", detail)
        _check_change(meter, {field: value for field, value in values.items() if getattr(meter, field) != value})
        changes = apply_changes(meter, values)
        if changes:
            meter.save(update_fields=[*changes, "updated_at"])
        if "dimensions" in changes:
            _spread_dimensions(meter)
        if rows is not None and (change := replace_rate_card(meter, rows)) is not None:
            changes["rate_card"] = change
        if not changes:
            republish(tenant.id, EpochKey(EpochKind.TENANT, tenant.id))
            return meter
        record_audit(tenant_id=tenant.id, actor=actor, action="meter.updated", target=meter, changes=changes)
        bump_epochs(tenant.id, EpochKey(EpochKind.TENANT, tenant.id))
    return meter


def archive_meter(*, tenant: Tenant, meter_id: UUID, actor: Actor, reason: str = "") -> Meter:
    """Take a meter out of use: from now on it is unknown to new events. What was recorded stays.

    Archiving twice is the same as once. Raises NotFound, and Conflict `meter_in_use` while quotas, prices or rate cards
    name it.
    """
    with transaction.atomic():
        lock_configuration(tenant.id)
        meter = Meter.objects.for_tenant(tenant).select_for_update().get_or_raise(meter_id)
        if meter.archived_at is not None:
            republish(tenant.id, EpochKey(EpochKind.TENANT, tenant.id))
            return meter
        quotas = Quota.objects.for_tenant(tenant).filter(meter=meter, archived_at__isnull=True).count()
        prices = Price.objects.for_tenant(tenant).filter(meter=meter, archived_at__isnull=True).count()
        cards = _cards_of(meter).values("meter_id").distinct().count()
        if quotas or prices or cards:
            detail = "Quotas, prices or rate cards are set on this meter; archive them first, or take it off the cards."
            raise Conflict("meter_in_use", detail, extra={"quotas": quotas, "prices": prices, "rate_cards": cards})
        meter.archived_at = real_clock().now()
        meter.save(update_fields=["archived_at", "updated_at"])
        record_audit(
            tenant_id=tenant.id, actor=actor, action="meter.archived", target=meter, reason=fields.reason(reason)
        )
        bump_epochs(tenant.id, EpochKey(EpochKind.TENANT, tenant.id))
    return meter


def _read_changes(*, aggregation: Any, name: Any, unit: Any, dimensions: Any, event_types: Any) -> dict[str, Any]:
    """What can be checked without looking at the meter."""
    values: dict[str, Any] = {}
    if aggregation is not UNSET:
        values["aggregation"] = fields.member(aggregation, "aggregation", Aggregation)
    if name is not UNSET:
        values["name"] = fields.text(name, "name", max_length=200)
    if unit is not UNSET:
        values["unit"] = fields.text(unit, "unit", max_length=32)
    if dimensions is not UNSET:
        values["dimensions"] = read_dimensions(dimensions)
    if event_types is not UNSET:
        values["event_types"] = _event_types(event_types)
    return values


def _complete(meter: Meter, values: dict[str, Any], *, value_from: Any, filter: Any) -> None:
    """Add what is checked against the dimensions and the aggregation as they will be."""
    declared = values.get("dimensions", meter.dimensions)
    if value_from is not UNSET or "aggregation" in values or "dimensions" in values:
        aggregation = Aggregation(values.get("aggregation", meter.aggregation))
        wanted = meter.value_from if value_from is UNSET else value_from
        values["value_from"] = read_value_from(wanted, aggregation, declared)
    if filter is not UNSET or "dimensions" in values:
        wanted = meter.filter if filter is UNSET else filter
        values["filter"] = filter_field("filter", wanted, [name_of(each) for each in declared])


def _check_cost_meter(aggregation: Aggregation, value_from: Any, filter: Any, event_types: Any) -> None:
    """A cost meter adds up amounts, and takes nothing by itself."""
    if aggregation is not Aggregation.SUM:
        raise Invalid.field("aggregation", "not_allowed", "A cost meter adds up amounts: its aggregation is sum.")
    for field, value in (("value_from", value_from), ("filter", filter), ("event_types", event_types)):
        if value:
            detail = "A cost meter takes no events by itself: say this of the meters of its rate card."
            raise Invalid.field(field, "not_allowed", detail)


def _complete_cost_meter(meter: Meter, values: dict[str, Any], rows: Sequence[CardRow] | None) -> None:
    """The unit is a currency and stays once amounts were derived; dimensions are at least those of the sources."""
    _check_cost_meter(
        Aggregation(values.get("aggregation", meter.aggregation)),
        values.get("value_from"),
        values.get("filter"),
        values.get("event_types"),
    )
    if "unit" in values and fields.currency(values["unit"], "unit") != meter.unit and has_events(meter):
        raise Conflict("meter_has_events", "Amounts were derived in this currency: make another cost meter.")
    if rows is not None:
        _keep_sources(rows)
        values["dimensions"] = join_dimensions(values.get("dimensions", meter.dimensions), source_dimensions(rows))
    elif "dimensions" in values:
        entries = RateCardEntry.objects.for_tenant(meter.tenant_id).filter(meter=meter).select_related("source")
        of_sources = [name for entry in entries for name in declared_dimensions(entry.source)]
        values["dimensions"] = join_dimensions(values["dimensions"], of_sources)


def _keep_sources(rows: Sequence[CardRow]) -> None:
    """See under the lock that no source was archived meanwhile. Raises Invalid."""
    sources = {row.source.id for row in rows}
    tenant_ids = {row.source.tenant_id for row in rows}
    live = Meter.objects.filter(tenant_id__in=tenant_ids, id__in=sources, archived_at__isnull=True).count()
    if live < len(sources):
        raise Invalid.field("rate_card", "unknown_meter", "A meter of the rate card was archived.")


def _spread_dimensions(meter: Meter) -> None:
    """Let cost meters derived from this one have its dimensions, too."""
    for cost in Meter.objects.for_tenant(meter.tenant_id).filter(id__in=_cards_of(meter).values("meter_id")):
        cost.dimensions = join_dimensions(cost.dimensions, declared_dimensions(meter))
        cost.save(update_fields=["dimensions", "updated_at"])


def _cards_of(meter: Meter) -> Any:
    """The rows of cost meters in use that name this one."""
    return RateCardEntry.objects.for_tenant(meter.tenant_id).filter(source=meter, meter__archived_at__isnull=True)


def _event_types(value: object) -> list[str]:
    return fields.texts(value, "event_types", most=MAX_EVENT_TYPES)


def _refuse_taken_event_types(tenant_id: UUID, event_types: Sequence[str], *, but: Meter | None = None) -> None:
    """An event's type has to say which meter it counts on."""
    others = list_meters(tenant_id).filter(event_types__overlap=event_types)
    if but is not None:
        others = others.exclude(pk=but.pk)
    other = others.first() if event_types else None
    if other is not None:
        shared = sorted(set(event_types) & set(other.event_types))
        detail = f"The meter {other.code} takes the event types {', '.join(shared)} already."
        raise Conflict("event_type_taken", detail, extra={"meter": other.public_id})


def _check_change(meter: Meter, changed: Mapping[str, Any]) -> None:
    gone = set(declared_dimensions(meter)) - {name_of(each) for each in changed.get("dimensions", meter.dimensions)}
    if gone:
        _refuse_used_dimensions(meter, gone)
    if "aggregation" in changed and not Aggregation(changed["aggregation"]).adds_up and _cards_of(meter).exists():
        raise Conflict("meter_in_use", "A rate card prices this meter: it has to add up.", extra={"rate_cards": 1})
    if (gone or any(field in changed for field in _WHAT_COUNTS)) and has_events(meter):
        detail = (
            "Events were recorded on this meter: its aggregation, its filter and where its value comes from stay, and "
            "dimensions can only be added."
        )
        raise Conflict("meter_has_events", detail)
    if "event_types" in changed:
        _refuse_taken_event_types(meter.tenant_id, changed["event_types"], but=meter)


def _refuse_used_dimensions(meter: Meter, gone: set[str]) -> None:
    for model in (Quota, Price):
        live = model.objects.for_tenant(meter.tenant_id).filter(meter=meter, archived_at__isnull=True)
        if live.filter(filter__has_any_keys=sorted(gone)).exists():
            raise Conflict("dimension_in_use", "A quota or price filters by a dimension that would go.")
    if _cards_of(meter).filter(dimensions__has_any_keys=sorted(gone)).exists():
        raise Conflict("dimension_in_use", "A rate card names a dimension that would go.")
