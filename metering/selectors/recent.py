"""The newest events of one agent, found by way of its roll-ups: no index of the events table leads to an agent."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet

from licenses.models import Agent
from metering.domain.enums import BucketSize
from metering.models import Meter, UsageEvent, UsageRollup

#: Roll-ups lag by seconds; what came after the newest bucket is looked for in the events themselves.
_SCANNED_BUCKETS = 200


def recent_events(agent: Agent, *, limit: int = 20, now: datetime) -> QuerySet[UsageEvent]:
    """The agent's last `limit` events by time of use, newest first, with their meters.

    Reads the licence's events (an index) from the quarter of an hour since which there are so many; an agent without
    roll-ups is looked for in the acceptance window before `now` (workspace time).
    """
    meters = list(Meter.objects.for_tenant(agent.tenant_id).values_list("pk", flat=True))
    buckets = UsageRollup.objects.for_tenant(agent.tenant_id).filter(
        agent=agent, meter_id__in=meters, size=BucketSize.QUARTER
    )
    found, since = 0, None
    for start, events in buckets.order_by("-bucket_start").values_list("bucket_start", "events")[:_SCANNED_BUCKETS]:
        found, since = found + events, start
        if found >= limit:
            break
    if since is None:
        since = now - settings.PERMETER_ACCEPTANCE_WINDOW - timedelta(days=1)
    events_since = UsageEvent.objects.for_tenant(agent.tenant_id).filter(
        license_id=agent.license_id, meter_id__in=meters, agent=agent, occurred_at__gte=since
    )
    return events_since.select_related("meter").order_by("-occurred_at", "-pk")[:limit]
