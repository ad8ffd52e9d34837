"""What vendors are told of overage records: made final, corrected, voided."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from common.ids import Prefix, encode_id
from common.quantities import format_quantity
from metering.models import Meter, OverageRecord
from metering.services.overage_records import RatedExcess
from tenants.services.outbox import OutgoingEvent, emit_events


def tell_finalized(rated: Sequence[RatedExcess], written: Mapping[UUID, UUID]) -> None:
    """`overage.finalized` for each record that was made final; `written` has their ids by balance."""
    codes = dict(Meter.objects.filter(id__in={each.excess.meter_id for each in rated}).values_list("id", "code"))
    emit_events(
        OutgoingEvent(
            tenant_id=each.excess.tenant_id,
            type="overage.finalized",
            subject=encode_id(Prefix.OVERAGE, written[each.excess.balance_id]),
            data=_payload(each, written[each.excess.balance_id], codes[each.excess.meter_id]),
        )
        for each in rated
        if each.excess.balance_id in written
    )


def payload_of(record: OverageRecord, *, reason: str) -> dict[str, str | None]:
    """What is told of a record that corrects another one, or was voided."""
    return {
        "overage": record.public_id,
        "corrects": encode_id(Prefix.OVERAGE, record.corrects_id) if record.corrects_id else None,
        "quota": encode_id(Prefix.QUOTA, record.quota_id),
        "meter": record.meter.code,
        "license": encode_id(Prefix.LICENSE, record.license_id) if record.license_id else None,
        "customer": encode_id(Prefix.CUSTOMER, record.customer_id),
        "period_start": record.period_start.isoformat(),
        "period_end": record.period_end.isoformat() if record.period_end else None,
        "quantity": format_quantity(record.quantity),
        "amount": format_quantity(record.amount),
        "currency": record.currency,
        "reason": reason,
    }


def _payload(each: RatedExcess, record_id: UUID, meter: str) -> dict[str, str | None]:
    excess = each.excess
    return {
        "overage": encode_id(Prefix.OVERAGE, record_id),
        "quota": encode_id(Prefix.QUOTA, excess.quota_id),
        "meter": meter,
        "license": encode_id(Prefix.LICENSE, excess.license_id),
        "customer": encode_id(Prefix.CUSTOMER, excess.customer_id),
        "period_start": excess.period_start.isoformat(),
        "period_end": excess.period_end.isoformat() if excess.period_end else None,
        "quantity": format_quantity(each.quantity),
        "amount": f"{each.rated.amount:f}",
        "currency": each.terms.currency,
    }
