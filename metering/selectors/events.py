"""Raw events: which there are, and what one of them counted in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import F, Func, Q, QuerySet, Value
from django.db.models.fields import BooleanField
from django.db.models.lookups import Exact
from psycopg.types.json import Jsonb

from licenses.models import Agent
from metering.domain.enums import Scope
from metering.models import Balance, Hold, LateEntry, UsageEvent
from metering.selectors.corrections import registered


def events_of(tenant_id: UUID) -> QuerySet[UsageEvent]:
    """All events of a workspace, with their meters."""
    return UsageEvent.objects.for_tenant(tenant_id).select_related("meter")


def of_agent(events: QuerySet[UsageEvent], agent_id: UUID, *, descendants: bool) -> QuerySet[UsageEvent]:
    """Those of an agent, with `descendants` of all below it, too; found by way of its licence, which an index knows."""
    license_id = Agent.objects.filter(id=agent_id).values_list("license_id", flat=True).first()
    if license_id is None:
        return events.none()
    events = events.filter(license_id=license_id)
    return events.filter(agent_path__contains=[agent_id]) if descendants else events.filter(agent_id=agent_id)


def of_client_id(
    events: QuerySet[UsageEvent], client_id: str, *, tenant_id: UUID, license_id: UUID | None
) -> QuerySet[UsageEvent]:
    """Those that a caller named so, on this licence or on any; found in the register of ids."""
    known = registered(tenant_id, client_id, license_id)
    return events.filter(id__in=[event_id for _, event_ids in known for event_id in event_ids])


def of_hold(events: QuerySet[UsageEvent], hold_id: UUID) -> QuerySet[UsageEvent]:
    """What settled a hold; found by way of the hold's licence, which an index knows."""
    license_id = Hold.objects.filter(id=hold_id).values_list("license_id", flat=True).first()
    events = events.filter(hold_id=hold_id)
    return events if license_id is None else events.filter(license_id=license_id)


def worked_out_from(events: QuerySet[UsageEvent], event_id: UUID) -> QuerySet[UsageEvent]:
    """What was worked out from an event: it has the same licence and the same instant."""
    original = UsageEvent.objects.filter(id=event_id).values_list("license_id", "occurred_at").first()
    if original is None:
        return events.none()
    return events.filter(license_id=original[0], occurred_at=original[1], derived_from=event_id)


@dataclass(frozen=True, slots=True)
class CountedIn:
    """A balance that an event counted in; `late` where it is not that of the event's own period."""

    balance: Balance
    late: bool


@dataclass(frozen=True, slots=True)
class EventTrail:
    """An event with all that followed from it."""

    event: UsageEvent
    counted_in: Sequence[CountedIn]
    reversed_by: Sequence[UsageEvent]
    derived: Sequence[UsageEvent]


def trail_of(event: UsageEvent) -> EventTrail:
    """What an event counted in, what took it back, and what was derived from it."""
    of_license = events_of(event.tenant_id).filter(license_id=event.license_id)
    derived = of_license.filter(derived_from=event.id, occurred_at=event.occurred_at)
    return EventTrail(
        event,
        _counted_in(event),
        list(of_license.filter(meter_id=event.meter_id, corrects=event.id).order_by("recorded_at", "id")),
        list(derived.order_by("id")),
    )


def _counted_in(event: UsageEvent) -> list[CountedIn]:
    late = LateEntry.objects.for_tenant(event.tenant_id).filter(event_id=event.id)
    elsewhere = {entry.own_balance_id: entry.balance_id for entry in late}
    matches = Func(
        Value(Jsonb(event.dimensions)), F("filter"), template="%(expressions)s", arg_joiner=" @> ",
        output_field=BooleanField(),
    )  # fmt: skip
    own = (
        Balance.objects.for_tenant(event.tenant_id)
        .filter(_subjects(event), _period(event.occurred_at), Exact(matches, Value(True)), meter_id=event.meter_id)
        .exclude(id__in=elsewhere)
    )
    taken = Balance.objects.for_tenant(event.tenant_id).filter(id__in=elsewhere.values())
    found = [CountedIn(balance, late=False) for balance in own] + [CountedIn(balance, late=True) for balance in taken]
    order = {scope: place for place, scope in enumerate(Scope)}
    return sorted(found, key=lambda each: (order[Scope(each.balance.scope)], each.balance.period_start))


def _subjects(event: UsageEvent) -> Q:
    return (
        Q(scope=Scope.AGENT, subject_id__in=event.agent_path)
        | Q(scope=Scope.LICENSE, subject_id=event.license_id)
        | Q(scope=Scope.CUSTOMER, subject_id=event.customer_id)
        | Q(scope=Scope.TENANT, subject_id=event.tenant_id)
    )


def _period(at: datetime) -> Q:
    return Q(period_start__lte=at) & (Q(period_end__gt=at) | Q(period_end__isnull=True))
