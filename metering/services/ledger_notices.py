"""What vendors are told of a batch: thresholds crossed, quotas used up, events that came late."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from uuid import UUID

from common.ids import Prefix, encode_id
from common.quantities import format_quantity
from metering.domain.enums import Scope
from metering.domain.ledger import EXCEEDED_MARK, Crossing, Decision, Late
from metering.services.balances import BalanceSpec
from tenants.services.outbox import OutgoingEvent

_SUBJECT_PREFIX = {
    Scope.AGENT: Prefix.AGENT,
    Scope.LICENSE: Prefix.LICENSE,
    Scope.CUSTOMER: Prefix.CUSTOMER,
    Scope.TENANT: Prefix.TENANT,
}


def notices(decision: Decision, specs: Mapping[UUID, BalanceSpec]) -> list[OutgoingEvent]:
    """The outbox events of a decision, in the order in which things happened."""
    return [
        *(_crossed(crossing, specs[crossing.balance_id]) for crossing in decision.crossings),
        *_late(decision.late, specs),
    ]


def _crossed(crossing: Crossing, spec: BalanceSpec) -> OutgoingEvent:
    exceeded = crossing.threshold == EXCEEDED_MARK
    data = _data(spec) | {"used": format_quantity(crossing.used)}
    if not exceeded:
        data["threshold"] = crossing.threshold
    return OutgoingEvent(
        tenant_id=spec.caller.tenant_id,
        type="quota.exceeded" if exceeded else "quota.threshold_reached",
        subject=encode_id(Prefix.QUOTA, spec.quota.id),
        data=data,
    )


def _late(entries: list[Late], specs: Mapping[UUID, BalanceSpec]) -> Iterator[OutgoingEvent]:
    """One notice for each closed balance that a batch came too late for."""
    by_own: dict[UUID, list[Late]] = {}
    for entry in entries:
        by_own.setdefault(entry.own, []).append(entry)
    for own, late in by_own.items():
        spec = specs[own]
        yield OutgoingEvent(
            tenant_id=spec.caller.tenant_id,
            type="usage.late",
            subject=encode_id(Prefix.QUOTA, spec.quota.id),
            data=_data(spec)
            | {
                "events": [encode_id(Prefix.EVENT, entry.event_id) for entry in late[:100]],
                "count": len(late),
                "counted_from": _iso(specs[late[0].counted_in].window.start),
            },
        )


def _data(spec: BalanceSpec) -> dict[str, object]:
    quota, window = spec.quota, spec.window
    data: dict[str, object] = {
        "quota": encode_id(Prefix.QUOTA, quota.id),
        "meter": quota.meter_code,
        "scope": str(quota.scope),
        "mode": str(quota.mode),
        "limit": format_quantity(quota.limit),
        "period_start": _iso(window.start),
        "period_end": _iso(window.end) if window.end else None,
        str(quota.scope): encode_id(_SUBJECT_PREFIX[quota.scope], quota.subject_id),
    }
    if spec.customer_id:
        data["customer"] = encode_id(Prefix.CUSTOMER, spec.customer_id)
    if spec.license_id:
        data["license"] = encode_id(Prefix.LICENSE, spec.license_id)
    return data


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
