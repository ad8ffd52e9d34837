"""Voids: what was recorded by mistake is taken back by reversing events, and nothing that was written is changed.

A void counts in the very balances in which its original counted, closed ones too, and takes back what adjustments
have left of it, with the amounts that cost meters computed from it. Where a bill is final, the difference becomes a
record of its own.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import transaction

from common.errors import Conflict, NotFound
from common.ids import Prefix, decode_id, encode_id, new_id
from common.quantities import format_quantity
from licenses.selectors.access import load_agent, load_license
from metering.domain.digests import Digest
from metering.domain.dimensions import matches
from metering.domain.enums import Aggregation, EventKind
from metering.domain.numbers import EXACT, ZERO
from metering.domain.quota_keys import event_digest
from metering.domain.requests import Line, Request, Verdict
from metering.domain.terms import Caller, MeterTerms, QuotaTerms
from metering.models import Balance, UsageEvent
from metering.selectors.corrections import (
    Standing,
    derived_of,
    event_of,
    events_of_client_id,
    places_of,
    standing_of,
    used_of,
)
from metering.selectors.terms import load_caller
from metering.services.carrying import carry_over_of, pass_on
from metering.services.ledger import post
from metering.services.overage_corrections import bill_corrected_balances
from metering.services.recounting import recount_balances
from metering.services.recovering import tell_recovered
from metering.services.specs import BalanceSpec
from metering.services.taking_up import attach_balances
from tenants.domain.actors import Actor
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services.auditing import record_audit
from tenants.services.locks import lock_configuration
from tenants.services.outbox import emit_event


@dataclass(frozen=True, slots=True)
class Reversed:
    """An event and the one that reverses it."""

    event: UsageEvent
    void: UsageEvent

    @property
    def quantity(self) -> Decimal:
        """What was taken back: what adjustments had left of the event."""
        return self.void.quantity.copy_negate()


@dataclass(frozen=True, slots=True)
class Voided:
    """What a void came to: the events of the id, first those that were posted, then what was computed from them."""

    reversed: Sequence[Reversed]

    @property
    def event(self) -> UsageEvent:
        """The first event of what was voided."""
        return self.reversed[0].event

    @property
    def voided_at(self) -> datetime:
        """When the first void of it was recorded, in the workspace's time."""
        return self.reversed[0].void.recorded_at


def void_usage(*, tenant: Tenant, actor: Actor, id: str, license_id: UUID | None = None, reason: str = "") -> Voided:
    """Take back an event (`evt_…`), or all events that a caller posted under an id.

    The id stays used: a retry of the original is a duplicate and counts nothing. Voiding twice is the same as once,
    also at the same time. Raises NotFound, and Conflict: `id_ambiguous` where licences share the caller's id,
    `event_is_correction` for a void or an adjustment.
    """
    with transaction.atomic():
        # No event is in flight from here on, no balance is made, no period closed.
        lock_configuration(tenant.id)
        events = find_events(tenant.id, id, license_id)
        correcting = Correcting(tenant, clock_of(tenant).now())
        found = [_Original.of(event) for event in events]
        waiting = [each for each in found if each.main.void is None]
        if waiting:
            correcting.post([each.request(correcting) for each in waiting], reason=reason)
            for each in waiting:
                _tell(tenant, actor, each, reason)
            found = [_Original.of(event) for event in events]
        parts = [each.main for each in found] + [part for each in found for part in each.derived]
        return Voided([Reversed(part.event, part.void) for part in parts if part.void is not None])


def find_events(tenant_id: UUID, id: str, license_id: UUID | None = None) -> Sequence[UsageEvent]:
    """The event of an `evt_…`, or those of a caller's id. Raises what `void_usage` does."""
    found: Sequence[UsageEvent] = ()
    try:
        event = event_of(tenant_id, decode_id(Prefix.EVENT, id))
        found = [event] if event is not None and license_id in (None, event.license_id) else []
    except ValueError:
        pass
    if not found:
        by_license = events_of_client_id(tenant_id, id, license_id)
        if len(by_license) > 1:
            licenses = [encode_id(Prefix.LICENSE, each) for each in sorted(by_license)]
            detail = "Several licenses have used this id: say which with license."
            raise Conflict("id_ambiguous", detail, extra={"licenses": licenses[:100]})
        found = next(iter(by_license.values()), [])
    if not found:
        raise NotFound
    if any(event.corrects is not None for event in found):
        raise Conflict("event_is_correction", "A void or an adjustment is not corrected: post another adjustment.")
    return found


class Correcting:
    """Corrections on their way through the ledger, with what they do to bills. Under the configuration lock."""

    def __init__(self, tenant: Tenant, at: datetime) -> None:
        self.tenant = tenant
        self.at = at
        self._callers: dict[tuple[UUID, UUID | None], Caller | None] = {}

    def line(self, event: UsageEvent, quantity: Decimal, *, derived_from: UUID | None = None) -> Line:
        """A line that changes `event` by `quantity`, wherever it counts."""
        meter = event.meter
        terms = MeterTerms(id=meter.id, code=meter.code, aggregation=Aggregation(meter.aggregation))
        return Line(
            meter=terms,
            quantity=quantity,
            dimensions=event.dimensions,
            occurred_at=event.occurred_at,
            event_id=new_id(),
            corrects=event.id,
            derived_from=derived_from,
            places=places_of(event, self._quotas_of(event)),
        )

    def request(
        self, event: UsageEvent, kind: EventKind, id: str, digest: Digest, fingerprint: Digest, lines: Sequence[Line]
    ) -> Request:
        """A request in the name of whoever used: the customer, agent and path of the event, whatever they are now."""
        caller = Caller(
            tenant_id=event.tenant_id,
            customer_id=event.customer_id,
            license_id=event.license_id,
            agent_id=event.agent_id,
            agent_path=tuple(event.agent_path),
            timezone=ZoneInfo(self.tenant.timezone),
            meters={},
            quotas=(),
            epochs=(),
        )
        return Request(
            caller=caller,
            kind=kind,
            id=id,
            digest=digest,
            fingerprint=fingerprint,
            lines=lines,
            at=self.at,
            occurred_given=True,
        )

    def post(self, requests: Sequence[Request], *, reason: str) -> None:
        """Count corrections, and bring closed bills to what is right by now."""
        touched = {place.balance_id for request in requests for line in request.lines for place in line.places or ()}
        before = used_of(self.tenant.id, touched)
        post(requests)
        done = [request for request in requests if request.verdict is Verdict.DONE]
        taken_back = _taken_back(done)
        counted = used_of(self.tenant.id, taken_back)
        recount_balances(self.tenant.id, taken_back)
        self._carry_on(done, counted)
        after = used_of(self.tenant.id, touched)
        self._tell_recovered({id for id in taken_back if after[id] < before[id]})
        # What only went down is no reason to bill a period that was closed without a bill.
        risen = {id for id, used in after.items() if used > before[id]}
        bill_corrected_balances(tenant_id=self.tenant.id, balances=touched, risen=risen, at=self.at, reason=reason)

    def _carry_on(self, done: Sequence[Request], counted: Mapping[UUID, Decimal]) -> None:
        """What a period left changes with what was counted anew, or under a quota that holds for nobody concerned now.

        Of all else the ledger has carried it on.
        """
        used = used_of(self.tenant.id, counted)
        left = {id: EXACT.subtract(counted[id], used[id]) for id in counted}
        terms: dict[UUID, QuotaTerms | None] = {}
        for line in (line for request in done for line in request.lines):
            for place in line.places or ():
                if place.balance_id != place.own:
                    left.pop(place.balance_id, None)
                    continue
                terms[place.balance_id] = place.quota
                if place.quota is None and line.meter.aggregation.adds_up:
                    left[place.balance_id] = EXACT.subtract(left.get(place.balance_id, ZERO), line.quantity)
        for balance in Balance.objects.for_tenant(self.tenant).filter(id__in=list(left)).order_by("period_start"):
            quota = terms[balance.id]
            carry_over = carry_over_of(balance) if quota is None else quota.carry_over
            if carry_over is not None:
                pass_on(balance, left[balance.id], carry_over)

    def _tell_recovered(self, lowered: set[UUID]) -> None:
        """Of balances that were counted anew; of those that add up the ledger has told."""
        rows = Balance.objects.for_tenant(self.tenant).filter(id__in=list(lowered), closed_at__isnull=True)
        owners = list(rows.values_list("quota_key", "subject_id"))
        if owners:
            tell_recovered(self.tenant, {key for key, _ in owners}, subject_ids={subject for _, subject in owners})

    def _quotas_of(self, event: UsageEvent) -> tuple[QuotaTerms, ...]:
        """The quotas that hold for the event's agent or licence today."""
        key = (event.license_id, event.agent_id)
        if key not in self._callers:
            access = load_agent(self.tenant.id, event.agent_id) if event.agent_id else None
            access = access or load_license(self.tenant.id, event.license_id)
            self._callers[key] = None if access is None else load_caller(access)
        caller = self._callers[key]
        if caller is None:
            return ()
        self._make_balances(caller, event)
        return caller.quotas

    def _make_balances(self, caller: Caller, event: UsageEvent) -> None:
        """Snapshots remember what a running period without a balance has seen: it gets one before that changes."""
        specs = {}
        for quota in caller.quotas_of.get(event.meter_id, ()):
            if quota.rolling_seconds is None and matches(quota.filter, event.dimensions):
                window = quota.window(event.occurred_at, caller.timezone)
                if window.contains(self.at):
                    specs[quota.balance_id(window)] = BalanceSpec(caller, quota, window)
        attach_balances(self.tenant, specs)


@dataclass(frozen=True, slots=True)
class _Original:
    """An event that was posted, with the amounts that were computed from it."""

    main: Standing
    derived: Sequence[Standing]

    @classmethod
    def of(cls, event: UsageEvent) -> "_Original":
        return cls(standing_of(event), [standing_of(each) for each in derived_of(event)])

    def request(self, correcting: Correcting) -> Request:
        event = self.main.event
        lines = [correcting.line(each.event, _negated(each.quantity)) for each in [self.main, *self.derived]]
        return correcting.request(
            event,
            EventKind.VOID,
            event.client_id,
            event_digest(event.license_id, b"void", event.id.hex),
            blake2b(event.id.bytes, digest_size=16, person=b"void").hexdigest(),
            lines,
        )


def _taken_back(done: Sequence[Request]) -> dict[UUID, set[UUID]]:
    """The events of meters that do not add up, by the balances in which they counted."""
    found: dict[UUID, set[UUID]] = defaultdict(set)
    for request in done:
        for line in request.lines:
            if line.corrects is not None and not line.meter.aggregation.adds_up:
                for place in line.places or ():
                    found[place.balance_id].add(line.corrects)
    return found


def _negated(quantity: Decimal) -> Decimal:
    return EXACT.minus(quantity)


def _tell(tenant: Tenant, actor: Actor, original: _Original, reason: str) -> None:
    event, quantity = original.main.event, format_quantity(original.main.quantity)
    record_audit(
        tenant_id=tenant.id,
        actor=actor,
        action="usage.voided",
        target=event,
        changes={"quantity": [quantity, "0"]},
        reason=reason,
    )
    emit_event(
        tenant_id=tenant.id,
        type="usage.voided",
        subject=event.public_id,
        data={
            "event": event.public_id,
            "client_id": event.client_id,
            "meter": event.meter.code,
            "quantity": quantity,
            "license": encode_id(Prefix.LICENSE, event.license_id),
            "agent": encode_id(Prefix.AGENT, event.agent_id) if event.agent_id else None,
            "customer": encode_id(Prefix.CUSTOMER, event.customer_id),
            "occurred_at": event.occurred_at.isoformat(),
            "reason": reason,
        },
    )
