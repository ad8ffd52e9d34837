"""Final bills put right: by records of exactly the difference, or by voiding them. A final record never changes."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.db import transaction

from common.errors import Conflict, NotFound
from common.ids import new_id
from metering.domain.bills import Bill, Correction, CurrencyChanged, correct
from metering.domain.enums import OverageStatus, Scope
from metering.domain.prices import PriceTerms
from metering.domain.rating import RatedAmount
from metering.models import Balance, OverageRecord
from metering.selectors.billing import excess_of_balances
from metering.selectors.prices import price_in_force, price_terms
from metering.services.overage_notices import payload_of, tell_finalized
from metering.services.overage_records import (
    lines_as_json,
    lock_accrual,
    price_as_json,
    rate_excesses,
    write_records,
)
from tenants.domain.actors import Actor
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services.auditing import record_audit
from tenants.services.locks import lock_configuration
from tenants.services.outbox import emit_event


@dataclass(frozen=True, slots=True)
class Rerated:
    """What another price comes to: the bill before and after, and the record of the difference, if there is one.

    With a dry run `correction` was not written.
    """

    record: OverageRecord
    before: RatedAmount
    after: RatedAmount
    correction: OverageRecord | None
    dry_run: bool


def standing_bill(record: OverageRecord) -> Bill:
    """How a final record stands by now: as it was finalised, or as its last correction left it."""
    last = record.corrections.exclude(status=OverageStatus.VOIDED).select_related(None).order_by("id").last() or record
    return Bill(last.used, last.limit, PriceTerms.from_mapping(last.price))


def bill_corrected_balances(
    *, tenant_id: UUID, balances: Iterable[UUID], risen: Collection[UUID], at: datetime, reason: str
) -> list[OverageRecord]:
    """Bring the bills of these closed balances to what they have used by now; the records that were written.

    Inside the caller's transaction, under the configuration lock, so that no period closes meanwhile. A bill that was
    voided stays so. Where there was none and one of those `risen` is over now, the first bill of the period is made.
    """
    closed = Balance.objects.for_tenant(tenant_id).filter(
        id__in=list(balances), closed_at__isnull=False, scope=Scope.LICENSE, plan_id__isnull=False
    )
    used = {balance.id: balance for balance in closed}
    final = OverageRecord.objects.for_tenant(tenant_id).filter(balance_id__in=used, corrects__isnull=True)
    written = []
    for record in final.filter(status=OverageStatus.FINALIZED).select_related("meter").order_by("id"):
        balance = used.pop(record.balance_id)
        before = standing_bill(record)
        correction = correct(before, replace(before, used=balance.used))
        if correction is not None:
            written.append(_write(record, correction, _price_of(record), at=at, reason=reason))
    anew = [balance for balance in used.values() if balance.id in risen]
    unbilled = [balance for balance in anew if not final.filter(balance_id=balance.id).exists()]
    _bill_anew(tenant_id, unbilled, at)
    return written


def void_overage(*, tenant: Tenant, actor: Actor, overage_id: UUID, reason: str = "") -> OverageRecord:
    """Waive an overage, open or final, with all corrections of it: nothing of it is owed.

    What was on a statement already is given back on the customer's next. An open period's overage does not come back.
    Voiding twice is the same as once. Raises NotFound and Conflict `overage_is_correction`.
    """
    with transaction.atomic():
        lock_configuration(tenant.id)
        lock_accrual()
        record = _locked(tenant, overage_id)
        if record.corrects_id is not None:
            raise Conflict("overage_is_correction", "This corrects another record: void that one, or re-rate it.")
        if record.status == OverageStatus.VOIDED:
            return record
        at = clock_of(tenant).now()
        before = record.status
        for each in [record, *record.corrections.select_for_update().order_by("id")]:
            each.status, each.voided_at, each.status_reason = OverageStatus.VOIDED, at, reason
            each.save(update_fields=["status", "voided_at", "status_reason", "updated_at"])
        changes = {"status": [before, OverageStatus.VOIDED]}
        record_audit(
            tenant_id=tenant.id, actor=actor, action="overage.voided", target=record, changes=changes, reason=reason
        )
        emit_event(
            tenant_id=tenant.id,
            type="overage.voided",
            subject=record.public_id,
            data=payload_of(record, reason=reason),
        )
    return record


def rerate_overage(
    *, tenant: Tenant, actor: Actor, overage_id: UUID, reason: str = "", dry_run: bool = False
) -> Rerated:
    """Rate a final overage anew at the price that the plan has by now for its period, after a mistake in the price.

    The difference is a record of its own, whose amount is less than 0 where it gives back. An open overage follows its
    price by itself. Raises NotFound and Conflict: `overage_not_final`, `price_missing`, `currency_changed`.
    """
    with transaction.atomic():
        lock_configuration(tenant.id)
        record = _locked(tenant, overage_id)
        if record.status != OverageStatus.FINALIZED:
            detail = f"Only a final overage is re-rated; this one is {record.status}. An open one follows its price."
            raise Conflict("overage_not_final", detail, extra={"status": record.status})
        balance = Balance.objects.for_tenant(tenant).get(id=record.balance_id)
        plan_id = balance.plan_id
        price = plan_id and price_in_force(
            tenant.id, plan_id, balance.meter_id, balance.filter, period_start=balance.period_start
        )
        if not price:
            raise Conflict("price_missing", "The plan has no price for this period. Give it one, or void the overage.")
        before = standing_bill(record)
        after = replace(before, terms=price_terms(price))
        try:
            correction = correct(before, after)
        except CurrencyChanged as error:
            raise Conflict(error.code, f"{error} Void the overage instead.") from error
        written = None
        if correction is not None:
            terms = price_as_json(price, after.terms)
            at = clock_of(tenant).now()
            if dry_run:
                written = _correction(record, correction, terms, at=at, reason=reason)
            else:
                written = _write(record, correction, terms, at=at, reason=reason)
                changes = {"amount": [str(before.rated.amount), str(after.rated.amount)]}
                record_audit(
                    tenant_id=tenant.id,
                    actor=actor,
                    action="overage.rerated",
                    target=record,
                    changes=changes,
                    reason=reason,
                )
        return Rerated(record, before.rated, after.rated, written, dry_run)


def _locked(tenant: Tenant, overage_id: UUID) -> OverageRecord:
    records = OverageRecord.objects.for_tenant(tenant).select_related("meter").filter(id=overage_id)
    record = records.select_for_update(of=("self",)).first()
    if record is None:
        raise NotFound
    return record


def _write(
    record: OverageRecord, correction: Correction, price: dict[str, object], *, at: datetime, reason: str
) -> OverageRecord:
    written = _correction(record, correction, price, at=at, reason=reason)
    written.save(force_insert=True)
    emit_event(
        tenant_id=record.tenant_id,
        type="overage.credited",
        subject=written.public_id,
        data=payload_of(written, reason=reason),
    )
    return written


def _correction(
    record: OverageRecord, correction: Correction, price: dict[str, object], *, at: datetime, reason: str
) -> OverageRecord:
    return OverageRecord(
        id=new_id(),
        created_at=at,
        updated_at=at,
        tenant_id=record.tenant_id,
        quota_id=record.quota_id,
        quota_key=record.quota_key,
        scope=record.scope,
        subject_id=record.subject_id,
        balance_id=record.balance_id,
        meter=record.meter,
        license_id=record.license_id,
        customer_id=record.customer_id,
        period_start=record.period_start,
        period_end=record.period_end,
        status=OverageStatus.CREDIT,
        limit=correction.after.limit,
        used=correction.after.used,
        quantity=correction.quantity,
        amount=correction.rated.amount,
        currency=record.currency,
        lines=lines_as_json(correction.rated),
        price=price,
        finalized_at=at,
        status_reason=reason,
        corrects=record,
    )


def _price_of(record: OverageRecord) -> dict[str, object]:
    """The copy of the price that is applied to the record by now."""
    last = record.corrections.exclude(status=OverageStatus.VOIDED).order_by("id").last()
    return dict((last or record).price)


def _bill_anew(tenant_id: UUID, balances: Sequence[Balance], at: datetime) -> None:
    licenses = {(tenant_id, balance.subject_id) for balance in balances}
    rated = rate_excesses(excess_of_balances([balance.id for balance in balances], licenses))
    tell_finalized(rated, write_records(rated, status=OverageStatus.FINALIZED, finalized_at=at))
