"""What lies ahead in a workspace: the instants at which workers have something to do there."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection

# Each kind by the index that its worker uses. What is due already is not ahead: it was done, or could not be. The
# parts of rolling windows close at whatever stop comes next, as nobody is told of them.
_NEXT = """
SELECT least(
    (SELECT min(period_end) + %(grace)s FROM metering_balance
     WHERE tenant_id = %(tenant)s AND closed_at IS NULL AND period <> 'rolling'
       AND period_end > %(after)s - %(grace)s),
    (SELECT min(expires_at) FROM metering_hold
     WHERE tenant_id = %(tenant)s AND status = 'open' AND expires_at > %(after)s),
    (SELECT min(expires_at) FROM licenses_activation
     WHERE tenant_id = %(tenant)s AND lapse_noted_at IS NULL AND released_at IS NULL AND expires_at > %(after)s),
    (SELECT min(expires_at) FROM licenses_license
     WHERE tenant_id = %(tenant)s AND expired_noted_at IS NULL AND expires_at > %(after)s),
    (SELECT min(license.expires_at - make_interval(days => notice.days))
     FROM licenses_license AS license
     JOIN licenses_licenseplan AS carried
       ON carried.tenant_id = license.tenant_id AND carried.license_id = license.id AND carried.role = 'base'
     JOIN licenses_plan AS plan ON plan.id = carried.plan_id
     CROSS JOIN LATERAL unnest(plan.expiry_notices) AS notice (days)
     WHERE license.tenant_id = %(tenant)s AND license.status <> 'revoked'
       AND (license.expiring_noted_days IS NULL OR license.expiring_noted_days > notice.days)
       AND license.expires_at - make_interval(days => notice.days) > %(after)s),
    (SELECT min(expires_at) + %(last_words)s FROM licenses_agent
     WHERE tenant_id = %(tenant)s AND spawned AND archived_at IS NULL AND expires_at > %(after)s - %(last_words)s)
)
"""


def next_stop(tenant_id: UUID, *, after: datetime, last_words: timedelta) -> datetime | None:
    """The first instant after `after`, on the workspace's clock, at which a worker has something to do there.

    A period closes (with the grace for late events), a hold or a lease of an activation ends, a licence is about to
    expire or expires, a spawned agent is put away (`last_words` after its end). None if nothing lies ahead.
    """
    arguments: dict[str, Any] = {
        "tenant": tenant_id,
        "after": after,
        "grace": settings.PERMETER_CLOSE_GRACE,
        "last_words": last_words,
    }
    with connection.cursor() as cursor:
        cursor.execute(_NEXT, arguments)
        found: datetime | None = cursor.fetchone()[0]
    return found
