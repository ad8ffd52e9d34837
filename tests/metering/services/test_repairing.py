"""Whatever was changed by hand is found, and rebuilt where the facts say what it was."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command
from django.db.models import F

from metering.domain.enums import Scope
from metering.models import Balance, OverageRecord, TopUp, TopUpBurn, UsageEvent, UsageRollup
from metering.services.repairing import repair_ledger
from metering.services.verification import verify_ledger
from tenants.models import AuditEntry
from tests.factories import ACTOR
from tests.metering.ledger_rows import NOVEMBER, OCTOBER, Workspace
from tests.metering.services.test_verification import busy_workspace, forget_id, lose_event, rename_event
from tests.trail import actions

pytestmark = pytest.mark.django_db(transaction=True)

TABLES = (Balance, UsageRollup)


def state() -> list[object]:
    """What the ledger keeps, as far as it follows from facts."""
    columns = {
        Balance: ("id", "used", "held", "burned", "base", "closed_at"),
        UsageRollup: ("id", "total", "events", "bucket_start"),
        OverageRecord: ("id", "status", "used", "quantity", "amount", "limit", "lines", "price"),
        TopUp: ("id", "used"),
    }
    return [list(table.objects.order_by("id").values_list(*names)) for table, names in columns.items()]


REPAIRED: list[Callable[[], object]] = [
    lambda: Balance.objects.filter(scope=Scope.TENANT).update(used=F("used") + 1),
    lambda: Balance.objects.filter(scope=Scope.AGENT).update(used=F("used") - Decimal("0.000000000001")),
    lambda: Balance.objects.filter(scope=Scope.LICENSE, period_start=OCTOBER).update(used=2),
    lambda: Balance.objects.update(used=0, held=9),
    lambda: Balance.objects.filter(scope=Scope.CUSTOMER, closed_at=None).update(held=1),
    lambda: Balance.objects.filter(scope=Scope.CUSTOMER).update(burned=1),
    lambda: UsageRollup.objects.filter(size="day").update(total=F("total") + 1),
    lambda: UsageRollup.objects.filter(size="quarter").update(events=F("events") + 1),
    lambda: UsageRollup.objects.filter(size="quarter").delete(),
    lambda: OverageRecord.objects.filter(status="open").update(used=F("used") + 1, quantity=F("quantity") + 1),
    lambda: OverageRecord.objects.filter(status="open").update(lines=[]),
    lambda: OverageRecord.objects.filter(status="open").update(amount=7),
]


@pytest.mark.parametrize("tamper", REPAIRED)
def test_repair__what_follows_from_facts__is_as_it_was_and_audited(tamper: Callable[[], object]) -> None:
    workspace = busy_workspace()
    other = busy_workspace("other")
    before = state()
    tamper()
    assert verify_ledger().differences

    repaired = repair_ledger(actor=ACTOR)

    assert repaired.after.differences == ()
    assert repaired.mended == len(repaired.before.differences)
    assert state() == before
    for each in (workspace, other):
        assert set(actions(each.tenant, "ledger.")) == {"ledger.repaired"}


def test_repair__open_record_that_is_gone__is_made_again() -> None:
    busy_workspace()
    before = OverageRecord.objects.filter(status="open").values_list("used", "amount", "lines").get()
    OverageRecord.objects.filter(status="open").delete()

    assert repair_ledger(actor=ACTOR).after.differences == ()
    assert OverageRecord.objects.filter(status="open").values_list("used", "amount", "lines").get() == before


FACTS: list[tuple[Callable[[], object], set[str]]] = [
    (lose_event, {"event", "overage"}),
    (forget_id, {"event_id"}),
    (rename_event, {"event_id"}),
    (lambda: OverageRecord.objects.filter(status="finalized").update(amount=1), {"overage"}),
    (lambda: OverageRecord.objects.filter(status="finalized").delete(), {"overage"}),
]


@pytest.mark.parametrize(("tamper", "left"), FACTS)
def test_repair__facts_at_fault__are_left_and_named(tamper: Callable[[], object], left: set[str]) -> None:
    busy_workspace()
    tamper()
    final = list(OverageRecord.objects.filter(status="finalized").order_by("id").values())
    events = list(UsageEvent.objects.order_by("id").values())

    repaired = repair_ledger(actor=ACTOR)

    assert {each.kind for each in repaired.refused} <= left | {"balance"}
    assert {each.kind for each in repaired.refused} & left
    assert list(OverageRecord.objects.filter(status="finalized").order_by("id").values()) == final
    assert list(UsageEvent.objects.order_by("id").values()) == events


def test_repair__balance_of_a_final_bill_whose_event_was_changed__stays_as_billed() -> None:
    busy_workspace()
    event = UsageEvent.objects.filter(occurred_at__lt=NOVEMBER, quantity=Decimal("4.5")).first()
    assert event is not None
    UsageEvent.objects.filter(pk=event.pk).update(quantity=9)
    billed = OverageRecord.objects.get(status="finalized")

    repaired = repair_ledger(actor=ACTOR)

    assert [each.kind for each in repaired.refused] == ["balance"]
    assert f"has used {billed.used:f}".rstrip("0") in repaired.refused[0].text
    assert Balance.objects.get(pk=billed.balance_id).used == billed.used


def test_repair__top_up_and_burns__follow_the_burns() -> None:
    workspace = Workspace.make()
    quota = workspace.quota()
    balance = workspace.balance(quota, burned=Decimal(3))
    top_up = TopUp.objects.create(
        tenant=workspace.tenant,
        quota=quota,
        quota_key=quota.key,
        scope=quota.scope,
        subject_id=workspace.license.id,
        amount=5,
        used=1,
        starts_at=NOVEMBER,
    )
    TopUpBurn.objects.create(tenant=workspace.tenant, top_up=top_up, balance=balance, quantity=2)
    assert {each.kind for each in verify_ledger().differences} == {"top_up", "burned"}

    assert repair_ledger(actor=ACTOR).after.differences == ()
    assert (TopUp.objects.get().used, Balance.objects.get().burned) == (2, 2)
    assert AuditEntry.objects.for_tenant(workspace.tenant).get(action="ledger.repaired").changes == {
        f"{balance.public_id}.burned": ["3", "2"],
        f"{top_up.public_id}.used": ["1", "2"],
    }


@pytest.mark.parametrize("jobs", [2, 5])
def test_verify__several_connections__find_the_same(jobs: int) -> None:
    for number in range(4):
        busy_workspace(f"vendor-{number}")
    Balance.objects.filter(scope=Scope.TENANT).update(used=F("used") + 1)
    OverageRecord.objects.filter(status="finalized").update(amount=1)
    alone, together = verify_ledger(), verify_ledger(jobs=jobs)

    assert len(alone.differences) >= 8
    assert sorted(map(repr, together.differences)) == sorted(map(repr, alone.differences))
    assert together.counts == alone.counts


def test_command__repair__ends_well_once_all_is_mended() -> None:
    busy_workspace()
    Balance.objects.filter(scope=Scope.TENANT).update(used=F("used") + 1)
    out = StringIO()

    call_command("verify_ledger", "--repair", "--jobs", "2", stdout=out)

    lines = out.getvalue().splitlines()
    assert (lines[0].partition(":")[0], lines[1].partition(":")[0]) == ("balance", "1 difference")
    assert lines[-1].startswith("no difference: ")

    OverageRecord.objects.filter(status="finalized").update(amount=1)
    with pytest.raises(SystemExit) as stopped:
        call_command("verify_ledger", "--repair", stdout=out)
    assert stopped.value.code == 1
    assert "They were left:" in out.getvalue()
