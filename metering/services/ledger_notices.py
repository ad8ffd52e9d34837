"""What vendors are told of a batch: thresholds crossed, quotas used up, events that came late."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from uuid import UUID

from common.ids import Prefix, encode_id
from common.quantities import format_quantity
from metering.domain.crossings import EXCEEDED_MARK, RECOVERED, Crossing
from metering.domain.enums import Scope
from metering.domain.ledger import Decision, Late
from metering.domain.periods import Window
from metering.domain.terms import QuotaTerms
from metering.services.specs import BalanceSpec
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
    data = _data(spec) | {"used": format_quantity(crossing.used), "allowance": format_quantity(crossing.allowance)}
    exceeded, recovered = crossing.threshold == EXCEEDED_MARK, crossing.threshold == RECOVERED
    if not exceeded and not recovered:
        data["threshold"] = crossing.threshold
    return OutgoingEvent(
        tenant_id=spec.caller.tenant_id,
        type="quota.exceeded" if exceeded else "quota.recovered" if recovered else "quota.threshold_reached",
        subject=encode_id(Prefix.QUOTA, spec.quota.id),
        data=data,
    )


def _late(entries: list[Late], specs: Mapping[UUID, BalanceSpec]) -> Iterator[OutgoingEvent]:
    """One notice for each closed balance that a batch came too late for."""
    by_own: dict[UUID, list[Late]] = {}
    for entry in entries:
        if not entry.told:
            continue
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
    return quota_data(spec.quota, spec.window, customer_id=spec.customer_id, license_id=spec.license_id)


def quota_data(
    quota: QuotaTerms, window: Window, *, customer_id: UUID | None, license_id: UUID | None
) -> dict[str, object]:
    """What every notice says of a quota in one of its periods."""
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
    if customer_id:
        data["customer"] = encode_id(Prefix.CUSTOMER, customer_id)
    if license_id:
        data["license"] = encode_id(Prefix.LICENSE, license_id)
    return data


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
