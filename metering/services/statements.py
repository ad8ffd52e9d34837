"""Statements: what a customer owes for a calendar month, issued once and handed out the same ever after."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Max
from django.template.loader import render_to_string

from common.clock import rfc3339
from common.errors import Conflict, Invalid
from common.ids import Prefix, encode_id, new_id
from common.quantities import format_quantity
from metering.domain.enums import OverageStatus, Period
from metering.domain.money import round_money
from metering.domain.numbers import ZERO
from metering.domain.periods import PeriodError, Window, period_window
from metering.domain.statements import Document, as_csv, as_json, totals_of
from metering.models import Meter, OverageRecord, Price, Statement
from metering.selectors.billing import Excess
from metering.selectors.statements import (
    customers_to_bill,
    has_open_periods,
    material_for,
    tenants_to_bill,
)
from tenants.domain.actors import Actor, worker
from tenants.models import Customer, Tenant
from tenants.selectors.clocks import clock_of
from tenants.services.auditing import record_audit
from tenants.services.each_workspace import EachWorkspace
from tenants.services.locks import lock_configuration
from tenants.services.outbox import emit_event

_MOMENT = timedelta(microseconds=1)


def month_of(tenant: Tenant, at: datetime) -> Window:
    """The calendar month in the workspace's timezone that `at` lies in. Raises Invalid outside the years of periods."""
    try:
        return period_window(Period.MONTH, at=at, timezone=ZoneInfo(tenant.timezone))
    except PeriodError as error:
        raise Invalid.field("period_start", "time_invalid", str(error)) from error


def draft_statement(tenant: Tenant, customer: Customer, at: datetime) -> Document:
    """The statement of the month that `at` lies in as it would be by now, marked as a draft; nothing is written."""
    document, _, _ = _compose(tenant, customer, month_of(tenant, at), number=None, id=None, issued_at=None)
    return document


def issue_statement(*, tenant: Tenant, actor: Actor, customer: Customer, at: datetime) -> Statement:
    """Issue a customer's statement of the month that `at` lies in, or give the one that was issued.

    It bills what ended in that month and all that earlier statements could not know: corrections and voids since. Two
    at once are one. Raises Conflict: `period_not_over`, `period_not_closed`.
    """
    window = month_of(tenant, at)
    with transaction.atomic():
        # Nothing is closed, voided or corrected meanwhile, and numbers have no gaps.
        lock_configuration(tenant.id)
        issued = Statement.objects.for_tenant(tenant).filter(customer=customer, period_start=window.start).first()
        if issued is not None:
            return issued
        now = clock_of(tenant).now()
        end = window.end or now
        if now < end:
            raise Conflict("period_not_over", f"The month ends at {rfc3339(end)}: until then there is a draft.")
        if has_open_periods(tenant, customer.id, end):
            raise Conflict("period_not_closed", "Periods of this month are not closed yet: POST periods/close first.")
        return _issue(tenant, actor, customer, window, now)


def issue_due_statements(tenant: Tenant, *, on_progress: Callable[[int], None] | None = None) -> int:
    """Issue what is due: for each customer with records on no statement yet, the months that are over and closed.

    Each statement is a transaction of its own, so a run that was cut short is gone on with by the next; twice is once.
    """
    made = 0
    actor = worker("issue_statements")
    now = clock_of(tenant).now()
    for customer_id, oldest in customers_to_bill(tenant.id, month_of(tenant, now).start):
        customer = Customer.objects.for_tenant(tenant).get(id=customer_id)
        # A period that ends with a month belongs to it.
        window = _month_ending_after(tenant, oldest)
        while window.end is not None and window.end <= now:
            if has_open_periods(tenant, customer_id, window.end):
                break
            taken = Statement.objects.for_tenant(tenant).filter(customer=customer, period_start=window.start).exists()
            if not taken and material_for(tenant, customer_id, window.start, window.end).is_owed:
                issue_statement(tenant=tenant, actor=actor, customer=customer, at=window.start)
                made += 1
                if on_progress is not None:
                    on_progress(made)
            window = month_of(tenant, window.end)
    return made


def issue_all_due_statements() -> int:
    """Issue what is due in every workspace. Raises WorkspacesFailedError once all others have theirs."""
    issued = 0
    each = EachWorkspace("issue_statements")
    for tenant in Tenant.objects.in_bulk(tenants_to_bill()).values():
        with each.of(tenant.id):
            issued += issue_due_statements(tenant)
    each.tell()
    return issued


def _month_ending_after(tenant: Tenant, at: datetime) -> Window:
    window = month_of(tenant, at)
    return month_of(tenant, window.start - _MOMENT) if window.start == at else window


def _issue(tenant: Tenant, actor: Actor, customer: Customer, window: Window, now: datetime) -> Statement:
    last = Statement.objects.for_tenant(tenant).aggregate(last=Max("number"))["last"] or 0
    id = new_id()
    document, records, voided = _compose(tenant, customer, window, number=last + 1, id=id, issued_at=now)
    statement = Statement.objects.create(
        id=id,
        tenant=tenant,
        customer=customer,
        number=last + 1,
        period_start=window.start,
        period_end=window.end or now,
        issued_at=now,
        totals=document["totals"],
        as_json=as_json(document),
        as_csv=as_csv(document),
        as_html=as_html(document),
    )
    # Not `updated_at`: the record did not change, only where it is billed.
    OverageRecord.objects.for_tenant(tenant).filter(id__in=records).update(statement=statement)
    OverageRecord.objects.for_tenant(tenant).filter(id__in=voided).update(void_statement=statement)
    record_audit(tenant_id=tenant.id, actor=actor, action="statement.issued", target=statement)
    emit_event(
        tenant_id=tenant.id,
        type="statement.issued",
        subject=statement.public_id,
        data={
            "statement": statement.public_id,
            "number": statement.number,
            "customer": customer.public_id,
            "period_start": rfc3339(window.start),
            "period_end": rfc3339(statement.period_end),
            "totals": document["totals"],
        },
    )
    return statement


def as_html(document: Document) -> str:
    """A page to print."""
    return render_to_string("metering/statement.html", {"statement": document})


def _compose(
    tenant: Tenant,
    customer: Customer,
    window: Window,
    *,
    number: int | None,
    id: UUID | None,
    issued_at: datetime | None,
) -> tuple[Document, list[UUID], list[UUID]]:
    """The document, and the records that it bills and takes back."""
    end = window.end or window.start
    material = material_for(tenant, customer.id, window.start, end)
    final = [each for each in material.records if issued_at is None or each.status != OverageStatus.OPEN]
    billed = {record.balance_id for record in final if record.corrects_id is None}
    codes = dict(Meter.objects.for_tenant(tenant).values_list("id", "code"))
    prices = Price.objects.for_tenant(tenant).in_bulk({each.price_id for each in material.standings if each.price_id})
    lines = [_of_standing(each, codes, prices) for each in material.standings if each.balance_id not in billed]
    lines += [_of_record(each) for each in final]
    lines += [_taken_back(each) for each in material.voided]
    document: Document = {
        "id": encode_id(Prefix.STATEMENT, id) if id else None,
        "number": number,
        "status": "draft" if issued_at is None else "issued",
        "vendor": tenant.name,
        "customer": {"id": customer.public_id, "external_id": customer.external_id, "name": customer.name},
        "period_start": rfc3339(window.start),
        "period_end": rfc3339(end),
        "issued_at": rfc3339(issued_at) if issued_at else None,
        "lines": lines,
        "totals": totals_of(lines),
    }
    return document, [each.id for each in final], [each.id for each in material.voided]


def _of_standing(standing: Excess, codes: dict[UUID, str], prices: Mapping[UUID, Price]) -> dict[str, Any]:
    """A billed balance with nothing over: what was used of what is included, in the currency that more would cost."""
    return {
        "kind": "usage",
        "overage": None,
        "corrects": None,
        "license": encode_id(Prefix.LICENSE, standing.license_id),
        "meter": codes[standing.meter_id],
        "period_start": rfc3339(standing.period_start),
        "period_end": rfc3339(standing.period_end) if standing.period_end else None,
        "used": format_quantity(standing.used),
        "included": format_quantity(standing.allowance),
        "over": "0",
        "working": [],
        "amount": None,
        "currency": prices[standing.price_id].currency if standing.price_id else "",
        "reason": "",
    }


def _of_record(record: OverageRecord) -> dict[str, Any]:
    return {
        "kind": "overage" if record.corrects_id is None else "credit",
        "overage": record.public_id,
        "corrects": encode_id(Prefix.OVERAGE, record.corrects_id) if record.corrects_id else None,
        "license": encode_id(Prefix.LICENSE, record.license_id) if record.license_id else None,
        "meter": record.meter.code,
        "period_start": rfc3339(record.period_start),
        "period_end": rfc3339(record.period_end) if record.period_end else None,
        "used": format_quantity(record.used),
        "included": format_quantity(record.limit),
        "over": format_quantity(record.quantity),
        "working": record.lines,
        "amount": f"{round_money(record.amount, record.currency):f}",
        "currency": record.currency,
        "reason": record.status_reason,
    }


def _taken_back(record: OverageRecord) -> dict[str, Any]:
    """What an earlier statement billed and is owed no more."""
    amount = round_money(-record.amount if record.amount else ZERO, record.currency)
    step = {"description": "Voided", "quantity": "1", "unit_price": f"{amount:f}", "amount": f"{amount:f}"}
    return _of_record(record) | {"kind": "void", "over": "0", "working": [step], "amount": f"{amount:f}"}
