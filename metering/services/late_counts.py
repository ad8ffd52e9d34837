"""Events that come late for a period that ended under terms which hold no more: they count there until it is closed.

A licence that changed its plan, or a plan that lost a quota, after a period's end: the balance of that period was let
go, and the ledger knows no one any more who uses it. What it bills is worked out anew from all events of the period.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F

from metering.domain.enums import Aggregation, Scope
from metering.domain.periods import Window
from metering.models import Balance
from metering.selectors.seeds import counted
from metering.services.recounting import recount_balances

_MOMENT: Final = timedelta(microseconds=1)

# Two minutes before as well: what was on its way then may have come after all.
_LATE = """
SELECT balance.id, max(event.recorded_at)
FROM metering_balance AS balance
JOIN metering_usageevent AS event ON event.tenant_id = balance.tenant_id AND event.license_id = balance.subject_id
 AND event.meter_id = balance.meter_id AND event.dimensions @> balance.filter
 AND event.occurred_at >= balance.period_start AND event.occurred_at < balance.period_end
 AND event.recorded_at >= balance.detached_at - interval '2 minutes'
WHERE balance.scope = 'license' AND balance.plan_id IS NOT NULL AND balance.closed_at IS NULL
  AND balance.detached_at >= balance.period_end
  AND (balance.tenant_id, balance.subject_id) IN (SELECT * FROM unnest(%s::uuid[], %s::uuid[]))
GROUP BY balance.id
"""


def count_late_events(licenses: Iterable[tuple[UUID, UUID]]) -> int:
    """Bring such balances of these licences, given as (tenant, licence), up to their events; how many there were.

    Balances are locked in the order of their ids, before anything that a bill needs.
    """
    pairs = list(licenses)
    if not pairs:
        return 0
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_LATE, [[tenant for tenant, _ in pairs], [license for _, license in pairs]])
            latest = dict(cursor.fetchall())
        found = Balance.objects.filter(id__in=latest, closed_at__isnull=True, detached_at__gte=F("period_end"))
        balances = list(found.select_related("meter").order_by("id").select_for_update(of=("self",)))
        for balance in balances:
            balance.detached_at = max(latest[balance.id] + _MOMENT, balance.detached_at or latest[balance.id])
            if Aggregation(balance.meter.aggregation).adds_up:
                balance.used = counted(
                    balance_id=balance.id,
                    tenant_id=balance.tenant_id,
                    meter_id=balance.meter_id,
                    scope=Scope(balance.scope),
                    subject_id=balance.subject_id,
                    license_id=balance.subject_id,
                    filter=balance.filter,
                    window=Window(balance.period_start, balance.period_end),
                )
            balance.save(update_fields=["used", "detached_at", "updated_at"])
            if not Aggregation(balance.meter.aggregation).adds_up:
                recount_balances(balance.tenant_id, {balance.id: ()})
    return len(balances)
