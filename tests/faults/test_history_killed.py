"""Dropping a month, killed with SIGKILL at each of its steps: its events are there, or gone with their check-point."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from metering.domain.enums import Period
from metering.models import Balance, DroppedMonth, EventId, UsageEvent
from metering.selectors.history import months_of_events
from metering.services.closing import close_periods
from metering.services.dropping import drop_old_events
from metering.services.partitions import ensure_partitions
from metering.services.rollups import roll_up_usage
from metering.services.verification import verify_ledger
from tests.faults.traps import die_at
from tests.metering.ledger_rows import DECEMBER, NOVEMBER, OCTOBER, Workspace

pytestmark = pytest.mark.django_db(transaction=True)

NOW = NOVEMBER + timedelta(days=102)

#: Where the process ends, and whether the month is gone by then.
STEPS = {
    "proven": ("dropping", "_check", "after", False),
    "file begun": ("exporting_events", "_write", "before", False),
    "file written": ("exporting_events", "_write", "after", False),
    "file in its place": ("dropping", "export_events", "after", False),
    "contributions found": ("dropping", "find_contributions", "after", False),
    "balances check-pointed": ("dropping", "check_point_balances", "after", False),
    "dropped, before the commit": ("dropping", "check_point_balances", "before commit", False),
    "dropped, after the commit": ("dropping", "check_point_balances", "after commit", True),
    "ids being forgotten": ("dropping", "forget_ids", "after", False),
}

WORK = """
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from metering.services import dropping

settings.PERMETER_EVENT_RETENTION = timedelta(days=100)
dropping.drop_old_events(export_to=Path("{folder}"), now=datetime.fromisoformat("{now}"))
"""


@pytest.mark.parametrize("step", STEPS)
def test_drop__killed_at_each_step__never_half_a_month(step: str, tmp_path: Path, settings: Any) -> None:
    settings.PERMETER_EVENT_RETENTION = timedelta(days=100)
    with connection.cursor() as cursor:
        for month in months_of_events():
            cursor.execute(f"DROP TABLE {month.name}")
    ensure_partitions(OCTOBER, 2)
    workspace = Workspace.make()
    lifetime = workspace.balance(workspace.quota(period=Period.LIFETIME))
    october = workspace.balance(workspace.quota(), month=OCTOBER)
    for number in range(4):
        workspace.use("2", lifetime, october, at=OCTOBER + timedelta(days=number))
    workspace.use("3", lifetime, at=NOVEMBER)
    close_periods(now=DECEMBER + timedelta(days=1))
    roll_up_usage()
    *place, gone = STEPS[step]

    die_at(*place, WORK.format(folder=tmp_path, now=NOW.isoformat()))

    assert UsageEvent.objects.count() == (1 if gone else 5)
    assert DroppedMonth.objects.count() == gone
    assert Balance.objects.get(pk=lifetime.pk).base == (8 if gone else 0)
    assert verify_ledger().differences == ()
    complete = [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")]
    assert not gone or len(complete) == 2

    drop_old_events(export_to=tmp_path, now=NOW)

    assert (UsageEvent.objects.count(), EventId.objects.count(), DroppedMonth.objects.count()) == (1, 1, 1)
    assert list(Balance.objects.order_by("used").values_list("used", "base")) == [
        (Decimal(8), Decimal(8)),
        (Decimal(11), Decimal(8)),
    ]
    assert verify_ledger().differences == ()
