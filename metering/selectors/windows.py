"""Reads of rolling windows: what their sub-buckets have used, and what holds reserve in any of them."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from django.db import connection

# A hold counts as long as it is open, also where its sub-bucket has left the window. Of what expired holds reserve
# nothing counts, though nobody may have swept it yet. What was let go does not know what it has missed.
_WINDOWS = """
SELECT balance.id, balance.quota_key, balance.subject_id, balance.period_start, balance.detached_at IS NULL,
    CASE WHEN balance.detached_at IS NULL THEN balance.used ELSE 0 END, balance.thresholds_fired,
    CASE WHEN balance.held = 0 THEN 0 ELSE balance.held - coalesce((
        SELECT sum(line.reserved) FROM metering_holdline AS line
        WHERE line.balance_id = balance.id AND line.open AND line.expires_at <= asked.at), 0) END
FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::timestamptz[], %s::timestamptz[])
    AS asked (tenant_id, quota_key, subject_id, first, at)
JOIN metering_balance AS balance ON balance.tenant_id = asked.tenant_id AND balance.subject_id = asked.subject_id
    AND balance.quota_key = asked.quota_key
WHERE (balance.period_start >= asked.first AND balance.detached_at IS NULL) OR balance.held > 0
"""


class AskedWindow(NamedTuple):
    """A window to be read: whose, from which sub-bucket on, and the workspace time."""

    tenant_id: UUID
    quota_key: UUID
    subject_id: UUID
    first: datetime
    at: datetime


class SubBucket(NamedTuple):
    """A sub-bucket that counts, or in which something is held; `fired` are the thresholds told in it.

    `attached` unless its quota stopped applying since: then only what is held counts.
    """

    balance_id: UUID
    quota_key: UUID
    subject_id: UUID
    start: datetime
    attached: bool
    used: Decimal
    fired: list[int]
    held: Decimal

    @property
    def owner(self) -> tuple[UUID, UUID]:
        """Which window it is part of."""
        return self.quota_key, self.subject_id


def read_windows(asked: Sequence[AskedWindow]) -> list[SubBucket]:
    """The sub-buckets of these windows that exist, in one statement and no order."""
    if not asked:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_WINDOWS, [list(column) for column in zip(*asked, strict=True)])
        return [SubBucket._make(row) for row in cursor.fetchall()]
