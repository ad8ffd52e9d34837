from __future__ import annotations

import gzip
import hashlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from common.ids import Prefix, encode_id
from metering.domain.enums import HoldStatus, Period, Scope
from metering.models import Balance, DroppedMonth, EventId, Hold, LateEntry, OverageRecord, UsageEvent, UsageRollup
from metering.selectors.history import kept_since, months_of_events
from metering.services.closing import close_periods
from metering.services.dropping import drop_old_events, forget_ids
from metering.services.exporting_events import export_events
from metering.services.partitions import ensure_partitions
from metering.services.rollups import roll_up_usage
from metering.services.verification import verify_ledger
from tests.metering.ledger_rows import DECEMBER, NOVEMBER, OCTOBER, Workspace
from tests.trail import actions

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)
#: Retention is 100 days here: October ended before, November did not.
NOW = NOVEMBER + 102 * DAY
OCTOBERS = "metering_usageevent_2026_10"


@pytest.fixture(autouse=True)
def _old_months_only(settings: Any) -> None:
    """Partitions of October and November 2026 only, whatever other tests have made."""
    settings.PERMETER_EVENT_RETENTION = timedelta(days=100)
    with connection.cursor() as cursor:
        for month in months_of_events():
            cursor.execute(f"DROP TABLE {month.name}")
    ensure_partitions(OCTOBER, 2)


def busy(slug: str = "acme", *, close: bool = True) -> Workspace:
    """A bill in October, a lifetime, a year that runs on, and usage in October and November."""
    workspace = Workspace.make(slug)
    workspace.price("0.25")
    monthly, lifetime = workspace.quota("10"), workspace.quota(scope=Scope.TENANT, period=Period.LIFETIME)
    yearly = workspace.quota(scope=Scope.CUSTOMER, period=Period.YEAR)
    lasting = [workspace.balance(lifetime), workspace.balance(yearly, month=OCTOBER)]
    Balance.objects.filter(period=Period.YEAR, tenant=workspace.tenant).update(period_end=OCTOBER + 365 * DAY)
    for month in (OCTOBER, NOVEMBER):
        balance = workspace.balance(monthly, month=month)
        for number in range(5):
            workspace.use("4.5", balance, *lasting, at=month + number * DAY, dimensions={"model": "large"})
    if close:
        close_periods(now=DECEMBER + DAY)
        roll_up_usage()
    return workspace


def bases() -> list[tuple[str, datetime, Decimal, Decimal]]:
    return list(
        Balance.objects.order_by("period", "period_start").values_list("period", "period_start", "used", "base")
    )


def test_drop__month_past_keeping__goes_with_its_ids_and_balances_keep_what_they_had(tmp_path: Path) -> None:
    workspace = busy()
    rolled_up = list(UsageRollup.objects.order_by("id").values())
    bills = list(OverageRecord.objects.order_by("id").values())

    dropped = drop_old_events(export_to=tmp_path, now=NOW)

    assert (dropped.months, dropped.events, dropped.ids, dropped.refused) == ([OCTOBERS], 5, 5, "")
    assert [month.name for month in months_of_events()] == ["metering_usageevent_2026_11"]
    assert UsageEvent.objects.count() == EventId.objects.count() == 5
    assert kept_since() == NOVEMBER
    assert bases() == [
        ("lifetime", datetime(1970, 1, 1, tzinfo=UTC), Decimal(45), Decimal("22.5")),
        ("month", OCTOBER, Decimal("22.5"), Decimal("22.5")),
        ("month", NOVEMBER, Decimal("22.5"), Decimal(0)),
        ("year", OCTOBER, Decimal(45), Decimal("22.5")),
    ]
    assert list(UsageRollup.objects.order_by("id").values()) == rolled_up
    assert list(OverageRecord.objects.order_by("id").values()) == bills
    assert actions(workspace.tenant, "usage.") == ["usage.dropped"]
    assert verify_ledger().differences == ()
    assert drop_old_events(export_to=tmp_path, now=NOW).months == []


def test_drop__two_months_one_after_the_other__bases_add_up(tmp_path: Path) -> None:
    busy()

    assert len(drop_old_events(export_to=tmp_path, now=NOW + 31 * DAY).months) == 2

    assert [(used, base) for _, _, used, base in bases()] == [
        (Decimal(45), Decimal(45)),
        (Decimal("22.5"), Decimal("22.5")),
        (Decimal("22.5"), Decimal("22.5")),
        (Decimal(45), Decimal(45)),
    ]
    assert verify_ledger().differences == ()


@pytest.mark.parametrize(("after", "goes"), [(timedelta(0), True), (timedelta(microseconds=-1), False)])
def test_drop__edge_of_retention__a_day_after_it_and_not_before(tmp_path: Path, after: timedelta, goes: bool) -> None:
    busy()

    dropped = drop_old_events(export_to=tmp_path, now=NOVEMBER + 101 * DAY + after)

    assert dropped.months == ([OCTOBERS] if goes else [])


def test_drop__period_that_ended_is_not_closed__month_stays(tmp_path: Path) -> None:
    workspace = busy(close=False)
    roll_up_usage()

    dropped = drop_old_events(export_to=tmp_path, now=NOW)

    balance = Balance.objects.get(tenant=workspace.tenant, period="month", period_start=OCTOBER)
    assert dropped.months == []
    assert dropped.refused == (
        f"{OCTOBERS} belongs to periods that have ended and are not closed: balances {balance.id}."
    )
    assert UsageEvent.objects.count() == 10
    assert list(tmp_path.iterdir()) == []


def test_drop__events_not_rolled_up__month_stays(tmp_path: Path) -> None:
    busy(close=False)
    close_periods(now=DECEMBER + DAY)

    assert "not rolled up yet" in drop_old_events(export_to=tmp_path, now=NOW).refused

    roll_up_usage()
    assert drop_old_events(export_to=tmp_path, now=NOW).months == [OCTOBERS]


def test_drop__ledger_does_not_prove_right__month_stays_and_the_difference_is_named(tmp_path: Path) -> None:
    busy()
    Balance.objects.filter(period="lifetime").update(used=44)

    dropped = drop_old_events(export_to=tmp_path, now=NOW)

    assert dropped.months == []
    assert "has used 44, its events come to 45." in dropped.refused


def test_drop__late_event_of_the_month__stays_counted_where_it_was(tmp_path: Path) -> None:
    workspace = busy()
    own = Balance.objects.get(period="month", period_start=OCTOBER)
    opened = Balance.objects.get(period="month", period_start=NOVEMBER)
    Balance.objects.filter(pk=opened.pk).update(closed_at=None)
    OverageRecord.objects.filter(balance_id=opened.id).delete()
    from tenants.models import OutboxEvent

    OutboxEvent.objects.all().delete()
    lasting = Balance.objects.exclude(period="month")
    event = workspace.use("2", opened, *lasting, at=OCTOBER + 20 * DAY)
    LateEntry.objects.create(
        tenant=workspace.tenant,
        event_id=event.id,
        occurred_at=event.occurred_at,
        balance=opened,
        own_balance_id=own.id,
        quantity=Decimal(2),
    )
    close_periods(now=NOW)
    roll_up_usage()
    assert verify_ledger().differences == ()

    assert drop_old_events(export_to=tmp_path, now=NOW + 31 * DAY).events == 11

    assert [(used, base) for _, _, used, base in bases()] == [
        (Decimal(47), Decimal(47)),
        (Decimal("22.5"), Decimal("22.5")),
        (Decimal("24.5"), Decimal("22.5")),
        (Decimal(47), Decimal(47)),
    ]
    assert verify_ledger().differences == ()


def test_forget_ids__broken_off__goes_on_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busy()
    with monkeypatch.context() as patched:
        patched.setattr("metering.services.dropping.forget_ids", lambda: 0)
        drop_old_events(export_to=tmp_path, now=NOW)
    assert (EventId.objects.count(), verify_ledger().differences) == (10, ())

    assert forget_ids() == 5
    assert forget_ids() == 0
    assert DroppedMonth.objects.get().ids_forgotten_at is not None


def test_export__a_month__every_event_with_public_ids_and_its_checksum(tmp_path: Path) -> None:
    workspace = busy()
    to = tmp_path / "folder" / "october.ndjson.gz"

    exported = export_events(to=to, table=OCTOBERS)

    data = to.read_bytes()
    rows = [json.loads(line) for line in gzip.decompress(data).splitlines()]
    event = UsageEvent.objects.get(occurred_at=OCTOBER)
    assert (exported.events, len(rows), exported.sha256) == (5, 5, hashlib.sha256(data).hexdigest())
    assert (tmp_path / "folder" / "october.ndjson.gz.sha256").read_text() == f"{exported.sha256}  october.ndjson.gz\n"
    assert sorted(path.name for path in to.parent.iterdir()) == ["october.ndjson.gz", "october.ndjson.gz.sha256"]
    assert next(row for row in rows if row["event_id"] == event.public_id) == {
        "id": event.client_id,
        "meter": "tokens",
        "quantity": "4.5",
        "occurred_at": "2026-10-01T00:00:00Z",
        "dimensions": {"model": "large"},
        "license": workspace.license.public_id,
        "agent": workspace.worker.public_id,
        "agent_path": [workspace.agent.public_id, workspace.worker.public_id],
        "customer": workspace.customer.public_id,
        "tenant": encode_id(Prefix.TENANT, workspace.tenant.id),
        "event_id": event.public_id,
        "recorded_at": "2026-10-01T00:00:00Z",
        "kind": "usage",
        "hold_id": None,
        "corrects": None,
        "derived_from": None,
        "flags": [],
    }


@pytest.mark.parametrize("status", [HoldStatus.SETTLED, HoldStatus.RELEASED, HoldStatus.EXPIRED])
def test_drop__hold_that_was_open__its_id_is_kept_until_it_ends(tmp_path: Path, status: HoldStatus) -> None:
    workspace = busy()
    hold = workspace.hold("1", expires_at=NOW + DAY)
    EventId.objects.filter(occurred_at=OCTOBER).update(hold_id=hold.id)

    assert (drop_old_events(export_to=tmp_path, now=NOW).ids, forget_ids()) == (4, 0)
    assert EventId.objects.filter(occurred_at__lt=NOVEMBER).count() == 1

    Hold.objects.update(status=status, closed_at=NOW)
    assert (forget_ids(), forget_ids()) == (1, 0)
    assert EventId.objects.count() == 5


def test_commands__export_and_drop__say_what_they_did(tmp_path: Path) -> None:
    busy("one")
    busy("two")
    out = StringIO()

    call_command("export_events", str(tmp_path / "one.gz"), "--tenant", "one", "--from", "2026-10-02T00:00:00Z", "--to",
                 "2026-11-01T00:00:00Z", stdout=out)  # fmt: skip
    assert out.getvalue().startswith(f"4 events in {tmp_path / 'one.gz'}, SHA-256 ")
    for wrong in (["--tenant", "three"], ["--month", "2026_01"], ["--month", "; drop"]):
        with pytest.raises(CommandError) as refused:
            call_command("export_events", str(tmp_path / "x.gz"), *wrong)
        assert refused.value.returncode == 2
    assert not (tmp_path / "x.gz").exists()
    with pytest.raises(CommandError):
        call_command("drop_old_events")
