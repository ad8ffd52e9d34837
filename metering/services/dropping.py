"""Months of events that are past keeping: written to a file, then dropped, with what balances had of them.

An id is unique for as long as its event is kept: the register forgets ids after their events are gone, and nothing
that old is taken in any more, not even from those who may backfill. Killed anywhere, a month is there with all its
events or it is gone with its check-point; ids that were still to be forgotten go the next time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import OperationalError, connection, transaction
from psycopg.errors import DeadlockDetected, LockNotAvailable

from common.clock import real_clock
from metering.models import DroppedMonth
from metering.selectors.history import Month, is_rolled_up, kept_since, months_of_events, unclosed_balances
from metering.services import rollups
from metering.services.checkpoints import check_point_balances, find_contributions
from metering.services.cursors import cursor_name, read_cursor
from metering.services.exporting_events import Exported, export_events
from metering.services.partitions import lock_partitions
from metering.services.verification import verify_ledger
from tenants.domain.actors import worker
from tenants.models import Tenant
from tenants.services.auditing import record_audit

ACTOR: Final = worker("drop_old_events")
#: Nobody whose clock differs from this one by less may still write into a month that is dropped.
_MARGIN: Final = timedelta(days=1)
#: The ledger waits for no longer behind a drop that waits for somebody who reads; then the drop tries again.
_PATIENCE: Final = "500ms"
_TRIES: Final = 20
#: Ids of so much time are forgotten in one transaction.
_SLICE: Final = timedelta(hours=1)

_BY_TENANT = "SELECT tenant_id, count(*) FROM {month} GROUP BY tenant_id ORDER BY tenant_id"

# A hold that is still open is settled under its own id.
_FORGET = """
DELETE FROM metering_eventid AS register
WHERE occurred_at >= %(since)s AND occurred_at < %(until)s
  AND NOT EXISTS (SELECT FROM metering_hold AS hold WHERE hold.id = register.hold_id AND hold.status = 'open')
"""

# Of months that are gone only ids of holds that were open are left, and nothing so old comes in any more.
_FORGET_ENDED = _FORGET.replace("occurred_at >= %(since)s AND ", "")


class CannotDropError(Exception):
    """A month that must stay, in a sentence that says why."""


@dataclass(slots=True)
class Dropped:
    """What a run did: the months that went, in their order, and why the next one stays, if it should have gone."""

    months: list[str] = field(default_factory=list)
    events: int = 0
    ids: int = 0
    refused: str = ""


def drop_old_events(
    *,
    export_to: Path | None,
    now: datetime | None = None,
    on_month: Callable[[DroppedMonth], None] | None = None,
) -> Dropped:
    """Drop every month that ended before the retention time, the oldest first, each written to `export_to` before.

    With None nothing is written. A month stays, and with it all after it, while a period that it belongs to has ended
    and is not closed, while an event of it is not rolled up, or while the ledger does not prove right. Safe side by
    side. Must not run inside another transaction.
    """
    now = now or real_clock().now()
    dropped = Dropped(ids=forget_ids())
    oldest = now - settings.PERMETER_EVENT_RETENTION - _MARGIN
    due = [month for month in months_of_events() if month.ends_at <= oldest]
    for place, month in enumerate(due):
        try:
            _check(month, now, prove=place == 0)
            exported = None
            if export_to is not None:
                exported = export_events(to=export_to / f"{month.name}.ndjson.gz", table=month.name)
            gone = _drop(month, exported)
        except CannotDropError as error:
            dropped.refused = str(error)
            return dropped
        if gone is None:
            continue
        dropped.months.append(month.name)
        dropped.events += gone.events
        if on_month is not None:
            on_month(gone)
        dropped.ids += forget_ids()
    return dropped


def forget_ids() -> int:
    """Take the ids of months that were dropped out of the register, a slice of time in each transaction; how many.

    The ids of holds that were open then stay until the first run after these have ended.
    """
    forgotten = 0
    for month in DroppedMonth.objects.filter(ids_forgotten_at__isnull=True):
        since = month.starts_at
        while since < month.ends_at:
            until = min(since + _SLICE, month.ends_at)
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(_FORGET, {"since": since, "until": until})
                forgotten += cursor.rowcount
            since = until
        DroppedMonth.objects.filter(pk=month.pk).update(ids_forgotten_at=real_clock().now())
    if (gone_before := kept_since()) is not None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_FORGET_ENDED, {"until": gone_before})
            forgotten += cursor.rowcount
    return forgotten


def _check(month: Month, now: datetime, *, prove: bool) -> None:
    position = read_cursor(cursor_name(rollups.WORK))
    if position is None or position.moved_at is None or not is_rolled_up(month, position.watermark):
        raise CannotDropError(
            f"{month.name} has events that are not rolled up yet. Let the workers run, and try again."
        )
    unclosed = unclosed_balances(month, now=now)
    if unclosed:
        names = ", ".join(str(id) for id in unclosed)
        raise CannotDropError(f"{month.name} belongs to periods that have ended and are not closed: balances {names}.")
    if prove and (differences := verify_ledger().differences):
        raise CannotDropError(
            f"The ledger differs from its events in {len(differences)} places, first: {differences[0].text} "
            "Run manage.py verify_ledger, and repair it before anything is dropped."
        )


def _drop(month: Month, exported: Exported | None) -> DroppedMonth | None:
    """The month's end, in one transaction; None if somebody else was quicker."""
    for _ in range(_TRIES):
        try:
            with transaction.atomic(durable=True):
                return _drop_now(month, exported)
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
                raise
        # Whoever reads the events may take a while, and the ledger goes first.
        time.sleep(0.5)
    raise CannotDropError(f"{month.name} is being read all the time. Try again when nothing long is running.")


def _drop_now(month: Month, exported: Exported | None) -> DroppedMonth | None:
    with connection.cursor() as cursor:
        lock_partitions()
        if month not in months_of_events():
            return None
        # Nobody writes into it any more, and nobody shall.
        cursor.execute(f"LOCK TABLE {month.name} IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(_BY_TENANT.format(month=month.name))
        by_tenant = dict(cursor.fetchall())
        events = sum(by_tenant.values())
        if exported is not None and exported.events != events:
            raise CannotDropError(f"{month.name} has {events} events, and its file has {exported.events}.")
        find_contributions(month)
        check_point_balances(month)
        at = real_clock().now()
        for tenant in Tenant.objects.filter(pk__in=by_tenant).order_by("pk"):
            record_audit(
                tenant_id=tenant.id,
                actor=ACTOR,
                action="usage.dropped",
                target=tenant,
                changes={f"events_of_{month.starts_at:%Y_%m}": [by_tenant[tenant.id], 0]},
            )
        gone = DroppedMonth.objects.create(
            name=month.name,
            starts_at=month.starts_at,
            ends_at=month.ends_at,
            events=events,
            exported_to=str(exported.path.absolute()) if exported else "",
            sha256=exported.sha256 if exported else "",
            dropped_at=at,
        )
        cursor.execute(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
        cursor.execute(f"ALTER TABLE metering_usageevent DETACH PARTITION {month.name}")
        cursor.execute(f"DROP TABLE {month.name}")
    return gone
