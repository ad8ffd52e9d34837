"""Events that are to be corrected: found by their ids, with what came of them and where they count."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

from django.db import connection
from psycopg.types.json import Jsonb

from licenses.models import License
from metering.domain.enums import EventKind
from metering.domain.numbers import EXACT
from metering.domain.quota_keys import event_digest
from metering.domain.requests import Place
from metering.domain.terms import QuotaTerms
from metering.models import Balance, EventId, Meter, UsageEvent
from tenants.models import TenantQuerySet

#: Licences whose ids are looked for in one statement.
_AT_ONCE = 5000

# Rows, not the quotas of today: an event stays in the balances that it once counted in, whoever holds the licence now.
# Whoever makes another balance later counts what corrects the event with it.
_PLACES = """
SELECT coalesce(late.balance_id, balance.id), balance.id, balance.quota_key, balance.subject_id
FROM metering_balance AS balance
LEFT JOIN metering_lateentry AS late
  ON late.tenant_id = balance.tenant_id AND late.own_balance_id = balance.id AND late.event_id = %(event)s
WHERE balance.tenant_id = %(tenant)s AND balance.subject_id = ANY(%(subjects)s::uuid[])
  AND balance.meter_id = %(meter)s AND %(dimensions)s @> balance.filter
  AND balance.period_start <= %(occurred_at)s
  AND coalesce(balance.period_end, 'infinity') > %(occurred_at)s
  AND (balance.detached_at IS NULL OR balance.detached_at > %(recorded_at)s)
ORDER BY balance.id
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """An event with what later events changed: `quantity` is what is left of it, `void` the event that reversed it."""

    event: UsageEvent
    quantity: Decimal
    void: UsageEvent | None = None


def event_of(tenant_id: UUID, event_id: UUID) -> UsageEvent | None:
    """The event of this id, with its meter."""
    return UsageEvent.objects.for_tenant(tenant_id).select_related("meter").filter(id=event_id).first()


def events_of_client_id(
    tenant_id: UUID, id: str, license_id: UUID | None = None
) -> Mapping[UUID, Sequence[UsageEvent]]:
    """The events that callers posted under this id, by licence; all licences unless one is named.

    Ids are unique per licence and their register is found by licence and id, so each licence is asked for.
    """
    found: dict[UUID, Sequence[UsageEvent]] = {}
    for license, event_ids in registered(tenant_id, id, license_id):
        events = UsageEvent.objects.for_tenant(tenant_id).select_related("meter").filter(id__in=event_ids)
        by_id = {event.id: event for event in events}
        found[license] = [by_id[event_id] for event_id in event_ids if event_id in by_id]
    return {license: events for license, events in found.items() if events}


def standing_of(event: UsageEvent) -> Standing:
    """What has become of an event."""
    quantity, void = event.quantity, None
    for later in _beside(event, [event.meter_id]).filter(corrects=event.id):
        if later.kind == EventKind.VOID:
            void = later
        quantity = EXACT.add(quantity, later.quantity)
    return Standing(event, quantity, void)


def derived_of(event: UsageEvent) -> list[UsageEvent]:
    """The events of cost meters whose amounts were computed from this one, with their meters."""
    meters = Meter.objects.for_tenant(event.tenant_id).filter(derived=True).values_list("id", flat=True)
    if not (costs := list(meters)):
        return []
    return list(_beside(event, costs).filter(derived_from=event.id).select_related("meter").order_by("id"))


def places_of(event: UsageEvent, quotas: Iterable[QuotaTerms] = ()) -> list[Place]:
    """The balances in which an event counts, closed ones too; `quotas` are those that hold today."""
    terms = {(quota.key, quota.subject_id): quota for quota in quotas}
    parameters: dict[str, Any] = {
        "event": event.id,
        "tenant": event.tenant_id,
        "subjects": [*event.agent_path, event.license_id, event.customer_id, event.tenant_id],
        "meter": event.meter_id,
        "dimensions": Jsonb(event.dimensions),
        "occurred_at": event.occurred_at,
        "recorded_at": event.recorded_at,
    }
    with connection.cursor() as cursor:
        cursor.execute(_PLACES, parameters)
        return [Place(counts_in, own, terms.get((key, subject))) for counts_in, own, key, subject in cursor.fetchall()]


def used_of(tenant_id: UUID, balances: Iterable[UUID]) -> dict[UUID, Decimal]:
    """What these balances have used."""
    return dict(Balance.objects.for_tenant(tenant_id).filter(id__in=list(balances)).values_list("id", "used"))


def _beside(event: UsageEvent, meters: Sequence[UUID]) -> TenantQuerySet[UsageEvent]:
    """Events of the same licence and instant: what corrects an event, or was computed from it, is among them."""
    return UsageEvent.objects.for_tenant(event.tenant_id).filter(
        license_id=event.license_id, meter_id__in=meters, occurred_at=event.occurred_at
    )


def registered(tenant_id: UUID, id: str, license_id: UUID | None) -> Iterator[tuple[UUID, list[UUID]]]:
    """What the register knows under a caller's id: licence, and the events that were answered for it.

    The register's key is made of licence and id, so each licence is asked for, a portion of them at a time.
    """
    licenses = License.objects.for_tenant(tenant_id).order_by("id").values_list("id", flat=True)
    asked = licenses if license_id is None else licenses.filter(id=license_id)
    left = asked.iterator(chunk_size=_AT_ONCE)
    while some := list(islice(left, _AT_ONCE)):
        license_of = {UUID(event_digest(license, b"", id)): license for license in some}
        rows = EventId.objects.for_tenant(tenant_id).filter(digest__in=list(license_of))
        for digest, event_ids in rows.values_list("digest", "event_ids"):
            yield license_of[digest], event_ids
