"""Credits and statements, killed with SIGKILL at each of their steps: whoever repeats them leaves one right set."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from metering.models import OverageRecord, Statement, UsageEvent
from metering.services.statements import issue_all_due_statements
from metering.services.verification import verify_ledger
from metering.services.voiding import void_usage
from tenants.models import AuditEntry, OutboxEvent
from tests.factories import ACTOR
from tests.faults.traps import die_at
from tests.metering.ledger_rows import OCTOBER, Workspace
from tests.metering.services.test_statements import october_over

pytestmark = pytest.mark.django_db(transaction=True)

#: Where the process ends: module, function, and whether before it is called, after it, or at the commit that follows.
VOIDING = {
    "configuration locked": ("voiding", "lock_configuration", "after"),
    "events found": ("voiding", "find_events", "after"),
    "void in the ledger": ("voiding", "post", "after"),
    "counted anew": ("voiding", "recount_balances", "after"),
    "bill corrected": ("overage_corrections", "_write", "after"),
    "credit announced": ("overage_corrections", "emit_event", "after"),
    "bills done": ("voiding", "bill_corrected_balances", "after"),
    "audited": ("voiding", "record_audit", "after"),
    "before the commit": ("voiding", "emit_event", "before commit"),
    "after the commit": ("voiding", "emit_event", "after commit"),
}
ISSUING = {
    "customer found": ("statements", "customers_to_bill", "after"),
    "configuration locked": ("statements", "lock_configuration", "after"),
    "composed": ("statements", "_compose", "after"),
    "page made": ("statements", "as_html", "after"),
    "audited": ("statements", "record_audit", "after"),
    "announced": ("statements", "emit_event", "after"),
    "before the commit": ("statements", "emit_event", "before commit"),
    "after the commit": ("statements", "emit_event", "after commit"),
    "issued": ("statements", "issue_statement", "after"),
}

VOID = """
from metering.services.voiding import void_usage
from tenants.models import Tenant
from tests.factories import ACTOR

void_usage(tenant=Tenant.objects.get(), actor=ACTOR, id="{event}")
"""
ISSUE = """
from metering.services import statements

statements.issue_all_due_statements()
"""


def bills() -> list[tuple[str, Decimal, Decimal, Decimal]]:
    records = OverageRecord.objects.order_by("id")
    return list(records.values_list("status", "used", "quantity", "amount"))


def october() -> tuple[Workspace, UsageEvent]:
    """130 of 100 used, billed with 9.99."""
    workspace, event = october_over()
    assert bills() == [("finalized", Decimal(130), Decimal(30), Decimal("9.99"))]
    return workspace, event


@pytest.mark.parametrize("step", VOIDING)
def test_credit__process_killed_at_each_step__repeated_it_is_one(step: str) -> None:
    workspace, event = october()

    die_at(*VOIDING[step], VOID.format(event=event.public_id))
    for _ in range(2):
        void_usage(tenant=workspace.tenant, actor=ACTOR, id=event.public_id)

    assert bills() == [
        ("finalized", Decimal(130), Decimal(30), Decimal("9.99")),
        ("credit", Decimal(0), Decimal(-30), Decimal("-9.99")),
    ]
    assert UsageEvent.objects.filter(kind="void").count() == 1
    for type in ("usage.voided", "overage.credited"):
        assert OutboxEvent.objects.filter(type=type).count() == 1
    assert AuditEntry.objects.filter(action="usage.voided").count() == 1
    assert verify_ledger().differences == ()


def statements() -> list[tuple[Any, ...]]:
    rows = Statement.objects.order_by("number")
    return [(row.number, row.period_start, [each["total"] for each in row.totals]) for row in rows]


@pytest.mark.parametrize("step", ISSUING)
def test_statements__worker_killed_at_each_step__repeated_each_is_one_without_a_gap(step: str) -> None:
    october()

    die_at(*ISSUING[step], ISSUE)
    for _ in range(2):
        issue_all_due_statements()

    assert statements() == [(1, OCTOBER, ["9.99"])]
    [issued] = Statement.objects.all()
    assert list(OverageRecord.objects.values_list("statement", "void_statement")) == [(issued.id, None)]
    assert [event.subject for event in OutboxEvent.objects.filter(type="statement.issued")] == [issued.public_id]
    assert AuditEntry.objects.filter(action="statement.issued").count() == 1
    assert verify_ledger().differences == ()
