"""Events that a vendor posts to change others by a difference, among those that report usage."""

from __future__ import annotations

from uuid import UUID

from common.errors import Problem
from common.ids import Prefix, decode_id
from licenses.selectors.access import load_agent
from metering.domain.requests import Request
from metering.services.adjusting import adjust_usage
from metering.services.reported_usage import LineFault, check_event_id, signed_quantity
from tenants.domain.actors import Actor
from tenants.models import Tenant
from vendor_api.usage_events import ReportedUsage, VendorEvent


def post_adjustments(
    tenant: Tenant, actor: Actor, usage: ReportedUsage, faults: dict[int, LineFault]
) -> dict[int, Request]:
    """Post the events that correct others, one by one, by their places; what is wrong with one joins `faults`."""
    done: dict[int, Request] = {}
    for place, event in enumerate(usage.events):
        if isinstance(event, Problem) or event.corrects is None:
            continue
        try:
            done[place] = _post(tenant, actor, event, event.corrects)
        except LineFault as fault:
            faults[place] = fault
    return done


def _post(tenant: Tenant, actor: Actor, event: VendorEvent, corrects: str) -> Request:
    check_event_id(event.id)
    if event.occurred_at is not None or event.dimensions:
        detail = "What corrects an event takes time and dimensions from it: leave them out."
        raise LineFault("corrects", "event_invalid", detail)
    quantity = signed_quantity(bytes(event.quantity))
    if quantity is None:
        raise LineFault("quantity", "quantity_required", "Say by how much, such as -5.")
    return adjust_usage(
        tenant=tenant,
        actor=actor,
        id=event.id,
        corrects=corrects,
        quantity=quantity.value,
        meter=event.meter,
        license_id=_license_of(tenant, event),
    )


def _license_of(tenant: Tenant, event: VendorEvent) -> UUID | None:
    """The licence among whose events the original is, if the event says so. Raises LineFault."""
    field, prefix = ("agent", Prefix.AGENT) if event.agent is not None else ("license", Prefix.LICENSE)
    named = event.agent if event.agent is not None else event.license
    if named is None:
        return None
    unknown = LineFault(field, f"unknown_{field}", f"There is no such {field}.")
    try:
        id = decode_id(prefix, named)
    except ValueError:
        raise unknown from None
    if field == "license":
        return id
    access = load_agent(tenant.id, id)
    if access is None:
        raise unknown
    return access.facts.license.id
