"""Workers that are killed while they work, again and again: what they leave behind is right in the end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.db.models import Sum

from licensing_site.environment import BASE_DIR
from metering.domain.enums import BucketSize, HoldStatus, OverageStatus, Scope
from metering.models import Balance, Hold, OverageRecord, RollupCursor, UsageRollup
from metering.services.closing import close_periods
from metering.services.cursors import cursor_name
from metering.services.expiring_holds import expire_holds
from metering.services.overage import accrue_overage
from metering.services.rollups import roll_up_usage
from metering.services.verification import verify_ledger
from tenants.models import OutboxEvent
from tests.metering.ledger_rows import DECEMBER, NOVEMBER, Workspace

pytestmark = pytest.mark.django_db(transaction=True)

KILLS = 4
AFTER_THE_END = DECEMBER + timedelta(hours=1)


def start(work: str) -> subprocess.Popen[bytes]:
    """A process of its own that does `work` for ever on this test's database."""
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    code = f"import django; django.setup()\n{work}"
    env = {**os.environ, "DATABASE_URL": url, "PYTHONPATH": str(BASE_DIR)}
    return subprocess.Popen([sys.executable, "-c", code], cwd=BASE_DIR, env=env)


def kill_at_work(work: str, progress: Callable[[], Any]) -> int:
    """Start workers, two at a time, and kill both soon after they got somewhere; how often that was half-way."""
    chance = random.Random(7)
    hits = 0
    for _ in range(KILLS):
        before = progress()
        workers = [start(work), start(work)]
        end = time.monotonic() + 15
        while progress() == before and time.monotonic() < end:
            time.sleep(0.001)
        hits += progress() != before
        time.sleep(chance.uniform(0, 0.02))
        for worker in workers:
            assert worker.poll() is None, "the worker died by itself"
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait()
    return hits


def test_roll_up__killed_again_and_again__every_event_once() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota())
    for number in range(300):
        workspace.use(str(number), balance, at=NOVEMBER + timedelta(minutes=number))
    roll_up = """
import time
from metering.services.rollups import roll_up_usage
while True:
    roll_up_usage(chunk=10)
    time.sleep(0.001)
"""

    hits = kill_at_work(roll_up, _watermark)
    roll_up_usage()

    assert hits >= 1
    for size in BucketSize:
        found = UsageRollup.objects.filter(size=size).aggregate(total=Sum("total"), events=Sum("events"))
        assert found == {"total": Decimal(sum(range(300))), "events": 300}
    assert verify_ledger().differences == ()


def _watermark() -> int:
    return sum(RollupCursor.objects.filter(name=cursor_name("rollup")).values_list("watermark", flat=True))


def test_close_periods__killed_again_and_again__one_bill_and_one_notice_each() -> None:
    workspaces = [Workspace.make(f"vendor-{number}") for number in range(60)]
    for workspace in workspaces:
        workspace.price("1")
        workspace.use("2", workspace.balance(workspace.quota("0")))
        workspace.balance(workspace.quota(scope=Scope.CUSTOMER), "0")
    # The customer's quota has seen the same usage.
    Balance.objects.filter(scope=Scope.CUSTOMER).update(used=2)
    close = f"""
from datetime import datetime
from metering.services import closing, overage
closing.CHUNK = 1
while True:
    overage.accrue_overage(everything=True)
    closing.close_periods(now=datetime.fromisoformat("{AFTER_THE_END.isoformat()}"))
"""

    hits = kill_at_work(close, lambda: Balance.objects.filter(closed_at__isnull=False).count())
    close_periods(now=AFTER_THE_END)
    accrue_overage(everything=True)

    assert hits >= 1
    assert not Balance.objects.filter(closed_at__isnull=True).exists()
    assert OverageRecord.objects.count() == 60
    assert OverageRecord.objects.filter(status=OverageStatus.FINALIZED, amount=2, quantity=2).count() == 60
    assert OutboxEvent.objects.filter(type="overage.finalized").count() == 60
    assert OutboxEvent.objects.values("subject").distinct().count() == 60
    assert verify_ledger().differences == ()


def test_expire_holds__killed_again_and_again__each_given_back_once() -> None:
    workspace = Workspace.make()
    balances = [workspace.balance(workspace.quota(scope=scope)) for scope in (Scope.LICENSE, Scope.CUSTOMER)]
    for _ in range(150):
        workspace.hold("1.5", *balances, expires_at=NOVEMBER)
    lasting = workspace.hold("7", *balances, expires_at=DECEMBER)
    expire = f"""
from datetime import datetime
from metering.services import expiring_holds
expiring_holds.CHUNK = 1
while True:
    expiring_holds.expire_holds(now=datetime.fromisoformat("{NOVEMBER.isoformat()}"))
"""

    hits = kill_at_work(expire, lambda: Hold.objects.filter(status=HoldStatus.EXPIRED).count())
    expire_holds(now=NOVEMBER)

    assert hits >= 1
    assert set(Balance.objects.values_list("held", flat=True)) == {Decimal(7)}
    assert list(Hold.objects.filter(status=HoldStatus.OPEN)) == [lasting]
    assert OutboxEvent.objects.filter(type="hold.expired").count() == 150
    assert verify_ledger().differences == ()
