"""The Celery worker of a real stack is killed while usage comes in."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from metering.domain.enums import BucketSize, Period
from metering.models import OverageRecord, UsageRollup
from tests.metering.ledger_rows import Workspace
from tests.stack_fixtures import LiveStack

WITHIN = 60.0


@pytest.mark.stack
def test_worker__killed_three_times_under_load__overage_is_there_within_a_minute(
    new_stack: Callable[..., LiveStack],
) -> None:
    stack = new_stack().start()
    with stack.orm():
        workspace = Workspace.make()
        workspace.price("0.25")
        balance = workspace.balance(workspace.quota("10", period=Period.LIFETIME))
        now = datetime.now(UTC)
        for _ in range(3):
            for _ in range(20):
                workspace.use("1", balance, at=now)
            killed = stack.kill("worker")
            stack.wait_until_ready(name="worker", other_than=killed)
        last = time.monotonic()
        while not OverageRecord.objects.filter(used=60).exists() and time.monotonic() < last + WITHIN:
            time.sleep(0.2)

        record = OverageRecord.objects.get()
        assert (record.used, record.quantity, record.amount) == (Decimal(60), Decimal(50), Decimal("12.50"))
        assert {(row.total, row.events) for row in UsageRollup.objects.filter(size=BucketSize.DAY)} == {
            (Decimal(60), 60)
        }
    assert stack.manage("verify_ledger").stdout.startswith("no difference: 60 events (0 not rolled up yet)")
