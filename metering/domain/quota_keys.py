"""What a quota counts, as a name: balances, top-ups and overage hang on it, so an edit that keeps it keeps them.

A key is (tenant, origin plan or own, scope, meter, filter, period); a balance is one key, one subject, one period.
Both are 16-byte digests in the shape of UUIDs, so that the ledger can name a balance without reading it.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from uuid import UUID

from metering.domain.digests import Digest

_OWN = bytes(16)


def quota_key(
    *,
    tenant_id: UUID,
    plan_id: UUID | None,
    scope: str,
    meter_id: UUID,
    filter: Mapping[str, str],
    period: str,
    rolling_seconds: int | None = None,
    anchor: str = "calendar",
) -> UUID:
    """The key of a quota; `plan_id` is None for a quota set on a licence, customer, agent or tenant itself."""
    digest = blake2b(digest_size=16, person=b"quota key")
    digest.update(tenant_id.bytes + (plan_id.bytes if plan_id else _OWN) + meter_id.bytes)
    texts = [scope, period, str(rolling_seconds or ""), anchor]
    texts += [text for pair in sorted(filter.items()) for text in pair]
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(4, "big") + data)
    return UUID(bytes=digest.digest())


def balance_id(quota_key: UUID, subject_id: UUID, period_start: datetime) -> UUID:
    """The id of a balance. The quota key already holds the tenant."""
    microseconds = int(period_start.timestamp() * 1_000_000)
    digest = blake2b(digest_size=16, person=b"balance")
    digest.update(quota_key.bytes + subject_id.bytes + microseconds.to_bytes(9, "big", signed=True))
    return UUID(bytes=digest.digest())


def event_digest(license_id: UUID, namespace: bytes, id: str) -> Digest:
    """The register's key of an event id; `namespace` keeps the ledger's own ids apart from what callers choose."""
    return EventDigests(license_id, namespace).of(id)


class EventDigests:
    """The register's keys of many ids of one licence: what they have in common is hashed once."""

    __slots__ = ("_common",)

    def __init__(self, license_id: UUID, namespace: bytes = b"") -> None:
        self._common = blake2b(license_id.bytes + namespace + b"\0", digest_size=16, person=b"event id")

    def of(self, id: str) -> Digest:
        """The key of one id."""
        digest = self._common.copy()
        digest.update(id.encode())
        return digest.hexdigest()
