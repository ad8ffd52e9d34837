"""Reads of meters."""

from uuid import UUID

from common.errors import Invalid, NotFound
from common.ids import Prefix, parse_any_id
from metering.models import Meter, RateCardEntry, UsageEvent
from tenants.models import Tenant, TenantQuerySet

_NONE = "No meter has this id or code."


def list_meters(tenant: Tenant | UUID, *, archived: bool = False) -> TenantQuerySet[Meter]:
    """A tenant's meters, without the archived ones unless asked for."""
    meters = Meter.objects.for_tenant(tenant)
    return meters if archived else meters.filter(archived_at__isnull=True)


def find_meter(tenant: Tenant | UUID, reference: UUID | str, *, archived: bool = False) -> Meter | None:
    """The meter of this id (a text is one only if all of it reads as one) or code."""
    meters = list_meters(tenant, archived=archived)
    if isinstance(reference, UUID):
        return meters.filter(pk=reference).first()
    parsed = parse_any_id(reference)
    if parsed is None:
        return meters.filter(code=reference).first()
    prefix, meter_id = parsed
    return meters.filter(pk=meter_id).first() if prefix == Prefix.METER else None


def get_meter(tenant: Tenant | UUID, reference: UUID | str) -> Meter:
    """The meter that a URL or a query names, archived or not. Raises NotFound."""
    meter = find_meter(tenant, reference, archived=True)
    if meter is None:
        raise NotFound(_NONE)
    return meter


def resolve_meter(tenant: Tenant | UUID, reference: object, *, field: str = "meter") -> Meter:
    """The meter that a body names by id or code. Raises Invalid for `field`; an archived meter is not found either."""
    if isinstance(reference, Meter):
        reference = reference.id
    meter = find_meter(tenant, reference) if isinstance(reference, UUID | str) else None
    if meter is None:
        raise Invalid.field(field, "unknown_meter", _NONE)
    return meter


def declared_dimensions(meter: Meter) -> tuple[str, ...]:
    """The names of a meter's dimensions, in their order."""
    return tuple(each if isinstance(each, str) else each["name"] for each in meter.dimensions)


def has_events(meter: Meter) -> bool:
    """Whether anything was ever recorded on the meter."""
    return UsageEvent.objects.for_tenant(meter.tenant_id).filter(meter_id=meter.id).exists()


def rate_card_of(meter: Meter) -> list[RateCardEntry] | None:
    """The rows of a cost meter's rate card, in the order in which they were made; None for any other meter."""
    if not meter.derived:
        return None
    entries = meter.rate_card.all()
    if "rate_card" not in getattr(meter, "_prefetched_objects_cache", {}):
        entries = entries.select_related("source")
    return sorted(entries, key=lambda entry: (entry.created_at, entry.id))
