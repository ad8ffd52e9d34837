"""Adjustments: an event that changes another one by a difference, and counts wherever that one counts."""

from collections.abc import Sequence
from decimal import Decimal
from hashlib import blake2b
from uuid import UUID

from django.db import transaction

from common.errors import Conflict, NotFound
from common.ids import Prefix, encode_id
from common.quantities import MAX_DECIMALS, format_quantity
from metering.domain.digests import Digest
from metering.domain.enums import Aggregation, EventKind
from metering.domain.numbers import EXACT, ROUNDING, ZERO
from metering.domain.quota_keys import event_digest
from metering.domain.requests import Line, Request
from metering.models import UsageEvent
from metering.selectors.corrections import derived_of, standing_of
from metering.services.ledger_sql import read_ids
from metering.services.reported_usage import LineFault
from metering.services.voiding import Correcting, find_events
from tenants.domain.actors import Actor
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services.auditing import record_audit
from tenants.services.locks import lock_configuration

_STEP = Decimal(1).scaleb(-MAX_DECIMALS)


def adjust_usage(
    *,
    tenant: Tenant,
    actor: Actor,
    id: str,
    corrects: str,
    quantity: Decimal,
    meter: str | None = None,
    license_id: UUID | None = None,
) -> Request:
    """Change what an event (`evt_…` or a caller's id) counted by a signed quantity; the request, with its verdict.

    Sum meters only. The event takes time, dimensions and whose it is from its original, and amounts that cost meters
    computed change in proportion: at the rate at which they were counted. `id` makes it idempotent, among the other
    ids of the licence. Raises LineFault: `unknown_event`, `id_ambiguous`, `event_is_correction`, `event_voided`,
    `aggregation_unsupported`, `below_zero`, `event_invalid` where the original is of another meter or of several.
    """
    with transaction.atomic():
        lock_configuration(tenant.id)
        original = _original(tenant, corrects, license_id)
        if meter is not None and meter not in (original.meter.code, original.meter.public_id):
            raise LineFault("meter", "event_invalid", f"The original is of the meter {original.meter.code}.")
        if original.meter.aggregation != Aggregation.SUM:
            detail = "Only what is summed up can be adjusted: void the event, and report it anew."
            raise LineFault("meter", "aggregation_unsupported", detail)
        correcting = Correcting(tenant, clock_of(tenant).now())
        digest = event_digest(original.license_id, b"", id)
        # What is known already is a repeat or a conflict, whatever has become of the original.
        known = digest in read_ids([tenant.id], [digest])
        lines = [correcting.line(original, quantity)] if known else _lines(correcting, original, quantity)
        fingerprint = _fingerprint(original, quantity)
        request = correcting.request(original, EventKind.ADJUST, id, digest, fingerprint, lines)
        correcting.post([request], reason="")
        if not known:
            record_audit(
                tenant_id=tenant.id,
                actor=actor,
                action="usage.adjusted",
                target=original,
                changes={"quantity": [None, format_quantity(quantity)]},
            )
        return request


def _original(tenant: Tenant, corrects: str, license_id: UUID | None) -> UsageEvent:
    try:
        events = find_events(tenant.id, corrects, license_id)
    except NotFound as error:
        raise LineFault("corrects", "unknown_event", "There is no such event.") from error
    except Conflict as error:
        raise LineFault("corrects", error.code, error.detail or "") from error
    if len(events) > 1:
        ids = ", ".join(encode_id(Prefix.EVENT, event.id) for event in events[:10])
        raise LineFault("corrects", "event_invalid", f"The id has several events: name one of {ids}.")
    return events[0]


def _lines(correcting: Correcting, original: UsageEvent, quantity: Decimal) -> Sequence[Line]:
    standing = standing_of(original)
    if standing.void is not None:
        raise LineFault("corrects", "event_voided", "The event was voided.")
    if EXACT.add(standing.quantity, quantity) < 0:
        left = format_quantity(standing.quantity)
        raise LineFault("quantity", "below_zero", f"Of the event {left} is left: no more than that can be taken back.")
    line = correcting.line(original, quantity)
    derived = [
        correcting.line(cost, change, derived_from=line.event_id)
        for cost in derived_of(original)
        if (change := _share(cost.quantity, quantity, original.quantity))
    ]
    return [line, *derived]


def _share(amount: Decimal, quantity: Decimal, whole: Decimal) -> Decimal:
    """What the amount of a whole comes to for a quantity of it, at most as finely as amounts are kept."""
    if not whole:
        return ZERO
    return ROUNDING.divide(EXACT.multiply(amount, quantity), whole).quantize(_STEP, context=ROUNDING)


def _fingerprint(original: UsageEvent, quantity: Decimal) -> Digest:
    text = original.id.bytes + format_quantity(quantity).encode()
    return blake2b(text, digest_size=16, person=b"adjust").hexdigest()
