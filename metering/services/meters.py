"""Making, changing and archiving meters."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from msgspec import UNSET, UnsetType

from common.clock import real_clock
from common.epochs import EpochKey
from common.errors import Conflict, Invalid
from metering.domain.dimensions import DimensionError, check_declared
from metering.domain.enums import Aggregation
from metering.models import Meter, Price, Quota
from metering.selectors.meters import declared_dimensions, has_events, list_meters
from metering.services.validation import list_field, refuse
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
RESERVED_DIMENSIONS: Final = frozenset({"agent", "license", "customer"})
"""Usage can be grouped by these already."""

_SUPPORTED = [aggregation for aggregation in Aggregation if aggregation.adds_up]
_DIMENSION = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


def create_meter(
    *,
    tenant: Tenant,
    actor: Actor,
    code: str,
    name: str | None = None,
    unit: str = DEFAULT_UNIT,
    aggregation: str = Aggregation.SUM,
    dimensions: Sequence[str] = (),
    event_types: Sequence[str] | None = None,
    value_from: str | None = None,
    rate_card: Sequence[Mapping[str, Any]] | None = None,
) -> Meter:
    """Make a meter; without a name or event types it has its code for both.

    Raises Invalid (422) for bad fields, with the document's code `aggregation_unsupported` for what does not add up
    and `rate_card_unsupported` for cost meters; Conflict (409) `code_taken` or `event_type_taken`.
    """
    supported = _aggregation(aggregation)
    _refuse_unsupported(value_from=value_from, rate_card=rate_card)
    code = fields.code(code)
    values: dict[str, Any] = {
        "code": code,
        "name": fields.text(code if name is None else name, "name", max_length=200),
        "unit": fields.text(unit, "unit", max_length=32),
        "aggregation": supported,
        "dimensions": _dimensions(dimensions),
        "event_types": _event_types([code] if event_types is None else event_types),
    }
    with transaction.atomic():
        lock_configuration(tenant.id)
        if Meter.objects.for_tenant(tenant).filter(code=code).exists():
            raise Conflict("code_taken", "A meter has this code already; that of an archived one is not used again.")
        _refuse_taken_event_types(tenant.id, values["event_types"])
        meter = Meter.objects.create(tenant=tenant, **values)
        changes = {field: [None, value] for field, value in values.items()}
        record_audit(tenant_id=tenant.id, actor=actor, action="meter.created", target=meter, changes=changes)
        bump_epochs(tenant.id, EpochKey(EpochKind.TENANT, tenant.id))
    return meter


def update_meter(
    *,
    tenant: Tenant,
    meter_id: UUID,
    actor: Actor,
    code: str | UnsetType = UNSET,
    name: str | UnsetType = UNSET,
    unit: str | UnsetType = UNSET,
    aggregation: str | UnsetType = UNSET,
    dimensions: Sequence[str] | UnsetType = UNSET,
    event_types: Sequence[str] | UnsetType = UNSET,
    value_from: str | UnsetType | None = UNSET,
    rate_card: Sequence[Mapping[str, Any]] | UnsetType | None = UNSET,
) -> Meter:
    """Change what is given. The code stays (Invalid `immutable`).

    Dimensions can always be added; one is taken away only while nothing was recorded and no quota or price filters by
    it, and the aggregation changes only while nothing was recorded. Raises NotFound, Invalid, Conflict
    `meter_archived`, `meter_has_events`, `dimension_in_use` or `event_type_taken`.
    """
    values: dict[str, Any] = {}
    if aggregation is not UNSET:
        values["aggregation"] = _aggregation(aggregation)
    _refuse_unsupported(value_from=value_from, rate_card=rate_card)
    if name is not UNSET:
        values["name"] = fields.text(name, "name", max_length=200)
    if unit is not UNSET:
        values["unit"] = fields.text(unit, "unit", max_length=32)
    if dimensions is not UNSET:
        values["dimensions"] = _dimensions(dimensions)
    if event_types is not UNSET:
        values["event_types"] = _event_types(event_types)
    with transaction.atomic():
        lock_configuration(tenant.id)
        meter = Meter.objects.for_tenant(tenant).select_for_update().get_or_raise(meter_id)
        if meter.archived_at is not None:
            raise Conflict("meter_archived", "An archived meter does not change any more.")
        if code is not UNSET:
            fields.immutable(code, meter.code, "code")
        _check_change(meter, {field: value for field, value in values.items() if getattr(meter, field) != value})
        changes = apply_changes(meter, values)
        if not changes:
            republish(tenant.id, EpochKey(EpochKind.TENANT, tenant.id))
            return meter
        meter.save(update_fields=[*changes, "updated_at"])
        record_audit(tenant_id=tenant.id, actor=actor, action="meter.updated", target=meter, changes=changes)
        bump_epochs(tenant.id, EpochKey(EpochKind.TENANT, tenant.id))
    return meter


def archive_meter(*, tenant: Tenant, meter_id: UUID, actor: Actor) -> Meter:
    """Take a meter out of use: from now on it is unknown to new events. What was recorded stays.

    Archiving twice is the same as once. Raises NotFound, and Conflict `meter_in_use` while quotas or prices name it.
    """
    with transaction.atomic():
        lock_configuration(tenant.id)
        meter = Meter.objects.for_tenant(tenant).select_for_update().get_or_raise(meter_id)
        if meter.archived_at is not None:
            republish(tenant.id, EpochKey(EpochKind.TENANT, tenant.id))
            return meter
        quotas = Quota.objects.for_tenant(tenant).filter(meter=meter, archived_at__isnull=True).count()
        prices = Price.objects.for_tenant(tenant).filter(meter=meter, archived_at__isnull=True).count()
        if quotas or prices:
            detail = "Quotas or prices are set on this meter; archive them first."
            raise Conflict("meter_in_use", detail, extra={"quotas": quotas, "prices": prices})
        meter.archived_at = real_clock().now()
        meter.save(update_fields=["archived_at", "updated_at"])
        record_audit(tenant_id=tenant.id, actor=actor, action="meter.archived", target=meter)
        bump_epochs(tenant.id, EpochKey(EpochKind.TENANT, tenant.id))
    return meter


def _refuse_unsupported(*, value_from: object, rate_card: object) -> None:
    if rate_card not in (None, UNSET):
        detail = "Cost meters with a rate card are not supported yet; meter quantities and put prices on a plan."
        raise refuse("rate_card", "rate_card_unsupported", detail)
    if value_from not in (None, "", UNSET):
        detail = "Only unique and latest meters take their value from a dimension."
        raise Invalid.field("value_from", "not_allowed", detail)


def _aggregation(value: object) -> Aggregation:
    aggregation = fields.member(value, "aggregation", Aggregation)
    if aggregation not in _SUPPORTED:
        detail = f"The aggregation {aggregation} is not supported yet; these are: {', '.join(_SUPPORTED)}."
        raise refuse("aggregation", "aggregation_unsupported", detail)
    return aggregation


def _dimensions(value: object) -> list[str]:
    names = list_field("dimensions", value, most=1000)
    for position, name in enumerate(names):
        if not isinstance(name, str) or not _DIMENSION.fullmatch(name):
            detail = "A name starts with a lower-case letter; lower-case letters, digits and '_' follow, 64 at most."
            raise Invalid.field(f"dimensions.{position}", "dimension_name_invalid", detail)
        if name in RESERVED_DIMENSIONS:
            detail = "Usage can be grouped by agent, license and customer without a dimension."
            raise Invalid.field(f"dimensions.{position}", "dimension_reserved", detail)
    try:
        return list(check_declared(names))
    except DimensionError as error:
        position = max((i for i, name in enumerate(names) if name == error.dimension), default=-1)
        path = "dimensions" if position < 0 else f"dimensions.{position}"
        raise Invalid.field(path, error.code, error.detail) from error


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
    gone = set(declared_dimensions(meter)) - set(changed.get("dimensions", declared_dimensions(meter)))
    if gone:
        _refuse_used_dimensions(meter, gone)
    if (gone or "aggregation" in changed) and has_events(meter):
        detail = "Events were recorded on this meter: its aggregation stays, and dimensions can only be added."
        raise Conflict("meter_has_events", detail)
    if "event_types" in changed:
        _refuse_taken_event_types(meter.tenant_id, changed["event_types"], but=meter)


def _refuse_used_dimensions(meter: Meter, gone: set[str]) -> None:
    for model in (Quota, Price):
        live = model.objects.for_tenant(meter.tenant_id).filter(meter=meter, archived_at__isnull=True)
        if live.filter(filter__has_any_keys=sorted(gone)).exists():
            raise Conflict("dimension_in_use", "A quota or price filters by a dimension that would go.")
