from datetime import timedelta
from decimal import Decimal
from threading import Thread

import pytest
from django.db import connections

from metering.domain.enums import HoldStatus, Scope
from metering.models import Balance, Hold, HoldLine
from metering.services.expiring_holds import expire_holds
from tenants.domain.enums import TenantMode
from tenants.models import OutboxEvent
from tests.metering.ledger_rows import NOVEMBER, Workspace

pytestmark = pytest.mark.django_db(transaction=True)

SOON = NOVEMBER + timedelta(minutes=10)


def test_expire_holds__at_the_expiry__reserves_are_given_back_on_every_level() -> None:
    workspace = Workspace.make()
    balances = [workspace.balance(workspace.quota(scope=scope)) for scope in (Scope.LICENSE, Scope.CUSTOMER)]
    ended = workspace.hold("7", *balances, expires_at=SOON)
    lasting = workspace.hold("5", balances[0], expires_at=SOON + timedelta(seconds=1))

    assert expire_holds(now=SOON - timedelta(microseconds=1)) == 0
    assert expire_holds(now=SOON) == 1

    ended.refresh_from_db()
    lasting.refresh_from_db()
    assert (ended.status, ended.closed_at, lasting.status) == (HoldStatus.EXPIRED, SOON, HoldStatus.OPEN)
    assert [Balance.objects.get(pk=balance.pk).held for balance in balances] == [Decimal(5), Decimal(0)]
    assert list(HoldLine.objects.filter(hold=ended).values_list("open", "reserved")) == [
        (False, Decimal(0)),
        (False, Decimal(0)),
    ]
    event = OutboxEvent.objects.get()
    assert (event.type, event.subject, event.data["hold"]) == ("hold.expired", ended.public_id, ended.public_id)
    assert expire_holds(now=SOON) == 0


def test_expire_holds__line_already_swept__gives_nothing_back_twice() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota())
    swept = workspace.hold("7", balance, expires_at=SOON)
    workspace.hold("5", balance, expires_at=SOON + timedelta(days=1))
    HoldLine.objects.filter(hold=swept).update(open=False, reserved=0)
    Balance.objects.update(held=5)

    assert expire_holds(now=SOON) == 1
    assert Balance.objects.get().held == Decimal(5)
    assert Hold.objects.get(pk=swept.pk).status == HoldStatus.EXPIRED


def test_expire_holds__ended_otherwise__left_alone() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota())
    workspace.hold("7", balance, expires_at=SOON, status=HoldStatus.SETTLED)

    assert expire_holds(now=SOON) == 0
    assert not OutboxEvent.objects.exists()


def test_expire_holds__test_workspace_ahead__by_its_own_clock() -> None:
    ahead = Workspace.make("ahead", mode=TenantMode.TEST, clock_offset=timedelta(days=1))
    live = Workspace.make("live")
    for workspace in (ahead, live):
        workspace.hold("7", workspace.balance(workspace.quota()), expires_at=SOON)

    assert expire_holds(now=SOON - timedelta(hours=1)) == 1
    assert Hold.objects.get(status=HoldStatus.EXPIRED).tenant == ahead.tenant


def test_expire_holds__several_at_once__each_given_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metering.services.expiring_holds.CHUNK", 4)
    workspace = Workspace.make()
    balances = [workspace.balance(workspace.quota(scope=scope)) for scope in (Scope.LICENSE, Scope.CUSTOMER)]
    for _ in range(30):
        workspace.hold("1.5", *balances, expires_at=SOON)
    counts: list[int] = []

    def expire() -> None:
        counts.append(expire_holds(now=SOON))
        connections.close_all()

    threads = [Thread(target=expire) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(counts) == 30
    assert set(Balance.objects.values_list("held", flat=True)) == {Decimal(0)}
    assert OutboxEvent.objects.count() == 30
