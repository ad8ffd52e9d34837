"""Statements: one per customer and month, with what earlier ones could not know, the same ever after."""

import csv
import io
import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from common.clock import real_clock
from common.errors import Conflict
from metering.models import OverageRecord, Price, Statement, UsageEvent
from metering.services.closing import close_periods
from metering.services.overage import accrue_overage
from metering.services.overage_corrections import void_overage
from metering.services.statements import draft_statement, issue_due_statements, issue_statement
from metering.services.voiding import void_usage
from tenants.models import Customer, OutboxEvent, Tenant
from tests.factories import ACTOR
from tests.metering.ledger_rows import DECEMBER, NOVEMBER, OCTOBER, Workspace

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)


def set_clock(workspace: Workspace, at: datetime) -> None:
    Tenant.objects.filter(pk=workspace.tenant.pk).update(clock_offset=at - real_clock().now(), mode="test")
    workspace.tenant.refresh_from_db()


def october_over(used: str = "130", unit_price: str = "0.333") -> tuple[Workspace, UsageEvent]:
    """A workspace that had 100 included in October, is closed since, and lives in November."""
    workspace = Workspace.make()
    quota = workspace.quota("100")
    workspace.price(unit_price)
    balance = workspace.balance(quota, month=OCTOBER)
    event = workspace.use(used, balance, at=OCTOBER + DAY)
    set_clock(workspace, NOVEMBER + DAY)
    close_periods(before=NOVEMBER, tenant=workspace.tenant)
    return workspace, event


def issue(workspace: Workspace, at: datetime = OCTOBER) -> Statement:
    return issue_statement(tenant=workspace.tenant, actor=ACTOR, customer=workspace.customer, at=at)


def document(statement: Statement) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(statement.as_json)
    return found


def test_issue_statement__closed_month__has_each_line_with_its_working_and_sums_of_rounded_amounts() -> None:
    workspace, _ = october_over()

    statement = issue(workspace)

    shown, record = document(statement), OverageRecord.objects.get()
    assert (shown["number"], shown["status"], shown["period_start"]) == (1, "issued", "2026-10-01T00:00:00Z")
    [line] = shown["lines"]
    assert (line["kind"], line["used"], line["included"], line["over"]) == ("overage", "130", "100", "30")
    assert (line["amount"], line["overage"]) == ("9.99", record.public_id)
    assert line["working"] == [
        {"description": "Units", "quantity": "30", "unit_price": "0.333", "amount": "9.99"},
    ]
    assert shown["totals"] == [{"currency": "USD", "overage": "9.99", "credits": "0.00", "total": "9.99"}]
    assert record.statement_id == statement.id
    assert OutboxEvent.objects.get(type="statement.issued").data["number"] == 1
    rows = list(csv.DictReader(io.StringIO(statement.as_csv)))
    assert [(row["kind"], row["amount"]) for row in rows] == [
        ("overage", "9.99"),
        ("working", "9.99"),
        ("total overage", "9.99"),
        ("total credits", "0.00"),
        ("total", "9.99"),
    ]
    assert "9.99 USD" in statement.as_html


def test_issue_statement__nothing_over__shows_what_was_used_of_what_is_included() -> None:
    workspace, _ = october_over("40")

    shown = document(issue(workspace))
    [line] = shown["lines"]

    assert (line["kind"], line["used"], line["included"], line["amount"]) == ("usage", "40", "100", None)
    assert (line["currency"], shown["totals"]) == ("USD", [])


def test_issue_statement__again_after_everything_changed__is_the_same_to_the_byte() -> None:
    workspace, event = october_over()
    first = issue(workspace)
    Price.objects.update(unit_price=Decimal(7))
    Customer.objects.update(name="Renamed")
    void_usage(tenant=workspace.tenant, actor=ACTOR, id=event.public_id)

    again = issue(workspace)

    assert (again.id, again.as_json, again.as_csv, again.as_html) == (
        first.id,
        first.as_json,
        first.as_csv,
        first.as_html,
    )
    assert Statement.objects.count() == 1


def test_issue_statement__credit_after_it__goes_on_the_next_one() -> None:
    workspace, event = october_over()
    issue(workspace)
    void_usage(tenant=workspace.tenant, actor=ACTOR, id=event.public_id, reason="refund")
    set_clock(workspace, DECEMBER + DAY)

    shown = document(issue(workspace, NOVEMBER))

    [line] = shown["lines"]
    assert (line["kind"], line["amount"], line["reason"]) == ("credit", "-9.99", "refund")
    assert line["corrects"] == OverageRecord.objects.get(status="finalized").public_id
    assert shown["totals"] == [{"currency": "USD", "overage": "0.00", "credits": "-9.99", "total": "-9.99"}]
    assert shown["number"] == 2


def test_issue_statement__credit_before_it__is_beside_what_it_corrects() -> None:
    workspace, event = october_over()
    void_usage(tenant=workspace.tenant, actor=ACTOR, id=event.public_id)

    shown = document(issue(workspace))

    assert [(line["kind"], line["amount"]) for line in shown["lines"]] == [("overage", "9.99"), ("credit", "-9.99")]
    assert shown["totals"][0]["total"] == "0.00"


def test_issue_statement__voided_after_it__is_given_back_once() -> None:
    workspace, _ = october_over()
    issue(workspace)
    record = OverageRecord.objects.get()
    void_overage(tenant=workspace.tenant, actor=ACTOR, overage_id=record.id, reason="goodwill")
    set_clock(workspace, DECEMBER + 40 * DAY)

    november, december = document(issue(workspace, NOVEMBER)), document(issue(workspace, DECEMBER))

    [line] = november["lines"]
    assert (line["kind"], line["amount"], line["overage"]) == ("void", "-9.99", record.public_id)
    assert (december["lines"], december["totals"]) == ([], [])


def test_issue_statement__voided_before_it__is_not_on_it() -> None:
    workspace, _ = october_over()
    void_overage(tenant=workspace.tenant, actor=ACTOR, overage_id=OverageRecord.objects.get().id)

    assert document(issue(workspace))["totals"] == []


def test_issue_statement__running_or_not_closed__is_refused_and_a_draft_is_there() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota("100"), month=OCTOBER)
    workspace.price("0.5")
    workspace.use("130", balance, at=OCTOBER + DAY)
    accrue_overage(now=NOVEMBER)
    set_clock(workspace, OCTOBER + 2 * DAY)
    with pytest.raises(Conflict) as running:
        issue(workspace)
    set_clock(workspace, NOVEMBER + DAY)
    with pytest.raises(Conflict) as open_:
        issue(workspace)

    draft = draft_statement(workspace.tenant, workspace.customer, OCTOBER)

    assert [each.value.code for each in (running, open_)] == ["period_not_over", "period_not_closed"]
    assert (draft["status"], draft["number"], draft["totals"][0]["total"]) == ("draft", None, "15.00")
    assert not Statement.objects.exists()
    assert OverageRecord.objects.get().statement_id is None


def test_issue_due_statements__run_twice_and_after_credits__each_month_once() -> None:
    workspace, event = october_over()

    assert (issue_due_statements(workspace.tenant), issue_due_statements(workspace.tenant)) == (1, 0)
    void_usage(tenant=workspace.tenant, actor=ACTOR, id=event.public_id)
    assert issue_due_statements(workspace.tenant) == 0  # its month is not over
    set_clock(workspace, DECEMBER + DAY)
    assert issue_due_statements(workspace.tenant) == 1

    totals = [statement.totals[0]["total"] for statement in Statement.objects.order_by("number")]
    assert totals == ["9.99", "-9.99"]
