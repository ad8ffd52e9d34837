"""Signed status lists, made when they are read, from the states as they stand; kept only while nothing has changed."""

from datetime import datetime, timedelta
from threading import Lock
from typing import Final, NamedTuple
from uuid import UUID

from cachetools import LRUCache

from common.clock import real_clock
from common.errors import NotFound
from common.status_versions import status_version
from licenses.domain.status_list import BITS, PLACES, STATUS_LIST_TYPE, compress, encode_statuses
from licenses.selectors.signing import STATUS_LIST_LIFE, list_size, newest_list, statuses_in_list
from licenses.services.signing_keys import ensure_signing_key
from licenses.services.tokens import issuer_of, sign
from tenants.domain.enums import TenantStatus
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of

#: How long a reader may do without asking again (the draft's `ttl`).
TIME_TO_LIVE: Final = timedelta(minutes=5)
#: Expiries change statuses, too, without anybody telling: a list is made anew every minute.
_MINUTE: Final = timedelta(minutes=1)


class _Kept(NamedTuple):
    version: str
    minute: datetime
    text: str


_kept: LRUCache[tuple[UUID, int], _Kept] = LRUCache(maxsize=256)
_lock = Lock()
#: One thread of a process makes a list, the others wait for it; which lock follows from the list.
_making: Final = [Lock() for _ in range(16)]


def signed_status_list(tenant: Tenant, number: int) -> str:
    """The workspace's status list of this number, as a signed JWT. A change is in it once its call has returned.

    The same states in the same minute give the same text in every process. Raises NotFound.
    """
    with _making[hash((tenant.id, number)) % len(_making)]:
        minute = _minute_of(real_clock().now())
        # The version before the data: a change in between makes what is kept look older than it is.
        version = status_version(tenant.id)
        with _lock:
            kept = _kept.get((tenant.id, number))
        if kept is not None and kept.version == version and kept.minute == minute:
            return kept.text
        text = _make(tenant.id, number, minute)
        if version is not None:
            with _lock:
                _kept[tenant.id, number] = _Kept(version, minute, text)
        return text


def _make(tenant_id: UUID, number: int, minute: datetime) -> str:
    tenant = Tenant.objects.get(pk=tenant_id)  # its status as it is now, after the version
    if not 0 < number <= newest_list(tenant_id):
        raise NotFound("There is no such status list.")
    statuses = statuses_in_list(
        tenant_id, number, now=clock_of(tenant).now(), closed=tenant.status != TenantStatus.ACTIVE
    )
    places = max(PLACES, list_size(tenant_id, number).highest + 1)
    lst = compress(encode_statuses(statuses, places=places))
    issuer = issuer_of(tenant.slug)
    issued_at = int(minute.timestamp())
    return sign(
        ensure_signing_key(tenant_id),
        {
            "iss": issuer,
            "sub": f"{issuer}/status-lists/{number}",
            "iat": issued_at,
            "exp": issued_at + int(STATUS_LIST_LIFE.total_seconds()),
            "ttl": int(TIME_TO_LIVE.total_seconds()),
            "status_list": {"bits": BITS, "lst": lst},
        },
        typ=STATUS_LIST_TYPE,
    )


def _minute_of(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
