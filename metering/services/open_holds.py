"""How many holds are open at once, where that is limited: counted under a lock, so that no two asks take one place.

The lock is an advisory one for each licence or agent with a limit, taken in the order of its number after the balances
and the lines of holds, and before ids; nobody without a limit takes any. A hold that has ended, however it did, leaves
its place at once: nothing is counted down that could be forgotten. Leases of signed licences take no place.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection

from licenses.domain.enums import LimitLevel
from licenses.domain.rate_limits import HoldLimit
from metering.domain.enums import HoldStatus
from metering.domain.requests import OpenHolds, Request
from tenants.services.locks import sorted_lock_numbers

_LOCK = "SELECT pg_advisory_xact_lock(number) FROM unnest(%s::bigint[]) AS wanted (number)"

_COUNT = """
SELECT wanted.subject_id, count(hold.id), min(hold.expires_at)
FROM unnest(%s::uuid[], %s::uuid[], %s::bool[], %s::timestamptz[]) AS wanted (tenant_id, subject_id, is_agent, at)
LEFT JOIN LATERAL (
    SELECT found.id, found.expires_at FROM metering_hold AS found
    LEFT JOIN licenses_agent AS agent ON agent.id = found.agent_id
    WHERE found.tenant_id = wanted.tenant_id AND found.status = %s AND found.expires_at > wanted.at
        AND NOT found.lease
        AND CASE WHEN wanted.is_agent THEN wanted.subject_id = ANY(agent.path)
            ELSE found.license_id = wanted.subject_id END
) AS hold ON true
GROUP BY wanted.subject_id
"""


def lock_open_holds(requests: Sequence[Request]) -> dict[UUID, OpenHolds]:
    """The open holds of all whom the requests' limits name, as nobody else can change them until the commit."""
    wanted: dict[HoldLimit, tuple[UUID, datetime]] = {}
    for request in requests:
        for limit in request.hold_limits:
            # Whatever a clock that is behind still takes for open has its place.
            _, at = wanted.get(limit, (None, request.at))
            wanted[limit] = (request.caller.tenant_id, min(at, request.at))
    return _count(wanted) if wanted else {}


def lock_places(limits: Sequence[HoldLimit]) -> None:
    """Keep everybody from taking a place under these limits until the commit: for a hold that is to go on."""
    if limits:
        with connection.cursor() as cursor:
            cursor.execute(_LOCK, [sorted_lock_numbers(limit.subject_id for limit in limits)])


def _count(wanted: dict[HoldLimit, tuple[UUID, datetime]]) -> dict[UUID, OpenHolds]:
    by_subject = {limit.subject_id: (limit, *place) for limit, place in wanted.items()}
    lock_places(list(wanted))
    with connection.cursor() as cursor:
        # A statement of its own: it sees what those have committed whom the lock made it wait for.
        cursor.execute(
            _COUNT,
            [
                [tenant_id for _, tenant_id, _ in by_subject.values()],
                list(by_subject),
                [limit.level is LimitLevel.AGENT for limit, _, _ in by_subject.values()],
                [at for _, _, at in by_subject.values()],
                HoldStatus.OPEN.value,
            ],
        )
        return {subject_id: OpenHolds(count, next_end) for subject_id, count, next_end in cursor.fetchall()}
