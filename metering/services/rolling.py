"""Rolling windows: their sub-buckets are balances of a 60th of the window each, and count together.

The first event under a rolling quota counts what the window has already seen: a balance is made for each sub-bucket in
which something was used. From then on every event makes its own, so a sub-bucket without a balance is empty.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from django.db import connection

from metering.domain.periods import EPOCH, rolling_buckets
from metering.domain.quota_keys import balance_id
from metering.models import Balance
from metering.selectors.seeds import times_of_events
from metering.services.specs import BalanceSpec

#: Sub-buckets removed in one statement.
CHUNK = 5000

# What has left its window and takes no more events is of no use to anybody, unless a hold names it.
_REMOVE = """
DELETE FROM metering_balance WHERE id IN (
    SELECT balance.id FROM metering_balance AS balance
    WHERE balance.tenant_id = %s AND balance.period = 'rolling' AND balance.closed_at IS NOT NULL
      AND balance.period_end + 60 * (balance.period_end - balance.period_start) <= %s AND balance.held = 0
      AND NOT EXISTS (SELECT FROM metering_holdline AS line WHERE line.balance_id = balance.id)
      AND NOT EXISTS (SELECT FROM metering_topupburn AS burn WHERE burn.balance_id = balance.id)
    LIMIT %s)
"""


def window_lock(quota_key: UUID, subject_id: UUID) -> UUID:
    """What is locked by whoever counts in a window, or makes balances that carry over; of no workspace or licence."""
    return balance_id(quota_key, subject_id, EPOCH)


def unseen(specs: Mapping[UUID, BalanceSpec], *, new: Collection[UUID]) -> dict[UUID, BalanceSpec]:
    """The sub-buckets that rolling quotas which nothing counts yet need, for what their windows have already seen.

    `specs` are all the balances of a batch, `new` those of them that are to be made or attached again: they say nothing
    of whether a window was counted before.
    """
    wanted: dict[UUID, BalanceSpec] = {}
    for spec in specs.values():
        quota = spec.quota
        if quota.rolling_seconds is None:
            continue
        first = rolling_buckets(quota.rolling_seconds, spec.window.start).window_start
        before = Balance.objects.for_tenant(spec.caller.tenant_id).filter(
            subject_id=quota.subject_id,
            quota_key=quota.key,
            period_start__gte=first,
            period_start__lt=spec.window.start,
            detached_at__isnull=True,
        )
        if not before.exclude(id__in=list(new)).exists():
            wanted |= _with_events(spec, first)
    kept = Balance.objects.filter(id__in=list(wanted), detached_at__isnull=True).values_list("id", flat=True)
    return {id: wanted[id] for id in wanted.keys() - set(kept)}


def _with_events(spec: BalanceSpec, first: datetime) -> dict[UUID, BalanceSpec]:
    """The sub-buckets from `first` to the balance's own in which something was used."""
    quota = spec.quota
    times = times_of_events(
        tenant_id=spec.caller.tenant_id,
        meter_id=quota.meter_id,
        scope=quota.scope,
        subject_id=quota.subject_id,
        license_id=spec.caller.license_id,
        filter=quota.filter,
        start=first,
        end=spec.window.start,
        seconds=quota.rolling_seconds or 0,
    )
    windows = {window.start: window for window in (quota.window(at, spec.caller.timezone) for at in times)}
    return {
        quota.balance_id(window): BalanceSpec(spec.caller, quota, window)
        for window in windows.values()
        if window.start < spec.window.start
    }


def remove_left_windows(tenant_id: UUID, *, at: datetime) -> int:
    """Remove closed sub-buckets that no window holds any more, as of `at` (workspace time); how many."""
    removed = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(_REMOVE, [tenant_id, at, CHUNK])
            gone: int = cursor.rowcount
            removed += gone
            if gone < CHUNK:
                return removed
