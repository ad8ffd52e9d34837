"""Usage that a vendor posts on behalf of agents and licences: facts, recorded whatever licence and quotas say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from common.errors import Conflict, FieldError, Invalid, Problem, Unavailable
from common.ids import Prefix, decode_id, encode_id, new_id
from licenses.selectors.access import AccessSnapshot, load_agent, load_license
from metering.domain.enums import EventKind
from metering.domain.quota_keys import event_digest
from metering.domain.requests import Line, Request, Verdict
from metering.domain.terms import Caller, MeterTerms
from metering.selectors.quota_statuses import Asked, CallerQuotas, QuotaStatus, statuses_from
from metering.selectors.terms import load_caller
from metering.services.acceptance import accepted_between
from metering.services.ledger import Posted, StaleCallers, post
from metering.services.payloads import UsagePayload
from metering.services.reported_usage import (
    LineFault,
    check_event_id,
    check_occurred_at,
    checked_dimensions,
    find_meter,
    read_quantity,
)
from tenants.domain.actors import Actor
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from vendor_api.adjustments import post_adjustments
from vendor_api.usage_events import ReportedUsage, VendorEvent

_ROUNDS: Final = 8
_STATUS: Final = {Verdict.DONE: "recorded", Verdict.REPLAYED: "duplicate", Verdict.CONFLICT: "conflict"}
_CONFLICT: Final = "This id was used for something else: nothing was counted."

Owner = tuple[str, str]


@dataclass(slots=True)
class Recorded:
    """What became of a report: a result for each event, in order, and the quotas that it touched."""

    results: list[dict[str, Any]]
    quotas: list[QuotaStatus]
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Owners:
    """Agents and licences that events name, as the ledger knows them; read once, and anew when they are behind."""

    tenant: Tenant
    known: dict[Owner, Caller | None] = field(default_factory=dict)

    def of(self, event: VendorEvent) -> Caller:
        """Raises LineFault for what is not named, named twice, or nobody's here."""
        if (event.agent is None) == (event.license is None):
            raise LineFault("agent", "event_invalid", "Name either the agent or the licence that it happened to.")
        owner = ("agent", event.agent) if event.agent is not None else ("license", event.license or "")
        if owner not in self.known:
            self.known[owner] = self._load(owner)
        caller = self.known[owner]
        if caller is None:
            if owner[0] == "agent":
                raise LineFault("agent", "unknown_agent", "There is no such agent.")
            raise LineFault("license", "unknown_license", "There is no such license.")
        return caller

    def forget(self, behind: Sequence[Caller]) -> None:
        """Have these read anew."""
        stale = {id(caller) for caller in behind}
        self.known = {owner: caller for owner, caller in self.known.items() if id(caller) not in stale}

    def _load(self, owner: Owner) -> Caller | None:
        kind, text = owner
        access: AccessSnapshot | None
        try:
            if kind == "agent":
                access = load_agent(self.tenant.id, decode_id(Prefix.AGENT, text))
            else:
                access = load_license(self.tenant.id, decode_id(Prefix.LICENSE, text))
        except ValueError:
            return None
        return None if access is None else load_caller(access)


def record_usage(
    tenant: Tenant, actor: Actor, usage: ReportedUsage, *, at: datetime, backfill: bool = False
) -> Recorded:
    """Record every sound event once; `at` is the workspace's time. What corrects others is done last.

    Raises Conflict `id_conflict` and Invalid, with the fault's own code, for a lone event; Unavailable.
    """
    owners = _Owners(tenant)
    # Made once: a batch that is done again carries the same ids, so that nothing counts twice.
    event_ids = [new_id() for _ in usage.events]
    for _ in range(_ROUNDS):
        requests, faults = _prepare(owners, usage, event_ids, at, backfill=backfill)
        if usage.lone and faults:
            raise _rejection(faults[0])
        try:
            posted = post(list(requests.values())) if requests else None
        except StaleCallers as stale:
            owners.forget(stale.callers)
            at = max(at, clock_of(tenant).now())
            continue
        adjusted = post_adjustments(tenant, actor, usage, faults)
        if usage.lone and faults:
            raise _rejection(faults[0])
        return _recorded(usage, requests, adjusted, faults, posted, at)
    raise Unavailable("What the call rests on changed again and again. Nothing was done.")


def _prepare(
    owners: _Owners, usage: ReportedUsage, event_ids: Sequence[UUID], at: datetime, *, backfill: bool
) -> tuple[dict[int, Request], dict[int, LineFault]]:
    """The sound events as requests to the ledger, and the faults of the others, by their places."""
    requests: dict[int, Request] = {}
    faults: dict[int, LineFault] = {}
    between = accepted_between(at, backfill=backfill)
    for place, event in enumerate(usage.events):
        try:
            sound = _sound(event)
            if sound.corrects is not None:
                continue
            requests[place] = _request(owners.of(sound), sound, event_ids[place], at, between)
        except LineFault as fault:
            faults[place] = fault
    return requests, faults


def _sound(event: VendorEvent | Problem) -> VendorEvent:
    if isinstance(event, Problem):
        error = event.errors[0] if event.errors else None
        raise LineFault(error["field"] if error else "", "event_invalid", event.detail or event.title)
    return event


def _request(
    caller: Caller, event: VendorEvent, event_id: UUID, at: datetime, between: tuple[datetime, datetime]
) -> Request:
    check_event_id(event.id)
    meter = _meter(caller, event.meter)
    dimensions = checked_dimensions(event.dimensions or {}, meter)
    quantity, written = read_quantity(event.quantity, meter, dimensions)
    occurred_at = at if event.occurred_at is None else check_occurred_at(event.occurred_at, *between)
    return Request(
        caller=caller,
        kind=EventKind.USAGE,
        id=event.id,
        digest=event_digest(caller.license_id, b"", event.id),
        fingerprint=UsagePayload(meter.id, dimensions).fingerprint(written),
        lines=(Line(meter, quantity, dimensions, occurred_at, event_id),),
        at=at,
        occurred_given=event.occurred_at is not None,
    )


def _meter(caller: Caller, name: str) -> MeterTerms:
    by_id = {encode_id(Prefix.METER, meter.id): meter for meter in caller.meters.values()} if "_" in name else {}
    return find_meter(by_id, name) if name in by_id else find_meter(caller.meters, name)


def _recorded(
    usage: ReportedUsage,
    requests: Mapping[int, Request],
    adjusted: Mapping[int, Request],
    faults: Mapping[int, LineFault],
    posted: Posted | None,
    at: datetime,
) -> Recorded:
    counts = dict.fromkeys(("recorded", "duplicate", "conflict", "rejected"), 0)
    results = []
    done = {**requests, **adjusted}
    for place, id in enumerate(usage.ids):
        result = _rejected(id, faults[place]) if place in faults else _result(done[place])
        counts[result["status"]] += 1
        results.append(result)
    if usage.lone and counts["conflict"]:
        raise Conflict("id_conflict", _CONFLICT)
    return Recorded(results, _quotas(requests, posted, at), counts)


def _result(request: Request) -> dict[str, Any]:
    verdict = request.verdict or Verdict.CONFLICT
    if verdict is Verdict.CONFLICT:
        return _told(request.id, "conflict", code="id_conflict", detail=_CONFLICT)
    event_id = request.known.event_ids[0] if request.known is not None else request.lines[0].event_id
    told = _told(request.id, _STATUS[verdict], event_id=encode_id(Prefix.EVENT, event_id))
    return told | {"flags": list(request.lines[0].flags)}


def _rejected(id: str | None, fault: LineFault) -> dict[str, Any]:
    return _told(id, "rejected", code=fault.code, detail=fault.detail)


def _told(
    id: str | None, status: str, *, event_id: str | None = None, code: str | None = None, detail: str | None = None
) -> dict[str, Any]:
    return {"id": id, "event_id": event_id, "status": status, "code": code, "detail": detail, "flags": []}


def _quotas(requests: Mapping[int, Request], posted: Posted | None, at: datetime) -> list[QuotaStatus]:
    """The quotas of the meters concerned, each balance once, owner by owner."""
    if posted is None:
        return []
    touched: dict[int, tuple[Caller, set[UUID]]] = {}
    for request in requests.values():
        touched.setdefault(id(request.caller), (request.caller, set()))[1].update(request.lines[0].meter.reach)
    found: dict[tuple[UUID, UUID], QuotaStatus] = {}
    for caller, meters in touched.values():
        for status in statuses_from(Asked(CallerQuotas(caller), at, meters), posted.balances):
            found.setdefault((status.quota.key, status.quota.subject_id), status)
    return list(found.values())


def _rejection(fault: LineFault) -> Invalid:
    """A lone event's fault, with the code that it would have in a batch."""
    error = FieldError(field=fault.field, code=fault.code, detail=fault.detail)
    return Invalid(fault.detail, code=fault.code, errors=[error])
