"""Events for vendors, written in the transaction of the change that they tell of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from common.clock import real_clock
from common.ids import new_id
from tenants.models import OutboxEvent


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """`subject` is the public id of the object whose events keep their order."""

    tenant_id: UUID
    type: str
    subject: str
    data: Mapping[str, Any]


def emit_event(
    *, tenant_id: UUID, type: str, subject: str, data: Mapping[str, Any], at: datetime | None = None
) -> None:
    """Tell the tenant's endpoints of `type` (`license.revoked`); `data` names everything concerned by public id."""
    emit_events([OutgoingEvent(tenant_id, type, subject, data)], at=at)


def emit_events(events: Iterable[OutgoingEvent], *, at: datetime | None = None) -> None:
    """Many events in one insert, in this order."""
    now = at or real_clock().now()
    OutboxEvent.objects.bulk_create(
        [
            OutboxEvent(
                id=new_id(),
                tenant_id=event.tenant_id,
                type=event.type,
                subject=event.subject,
                data=dict(event.data),
                created_at=now,
            )
            for event in events
        ]
    )
