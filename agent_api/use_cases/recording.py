"""`usage`: this much has happened. Facts are recorded for every living key, whatever its licence and quotas say."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal
from uuid import UUID

from django.conf import settings

from agent_api.use_cases.answering import Answer
from agent_api.use_cases.callers import Admission, Ask, Credentials, KnownCaller, admit_many
from agent_api.use_cases.posting import Job, post_many
from agent_api.wire.answers import UsageAnswer, UsageResult
from agent_api.wire.requests import ReportedEvent
from agent_api.wire.shapes import quota_bodies
from agent_api.wire.usage import UsageEvents
from common.errors import Conflict, FieldError, Invalid, Problem
from common.ids import Prefix, decode_id, encode_id, new_id
from metering.domain.enums import EventKind
from metering.domain.quota_keys import EventDigests
from metering.domain.requests import Line, Request, Verdict
from metering.domain.terms import MeterTerms
from metering.selectors.quota_statuses import Asked, QuotaStatus, statuses_from
from metering.services.payloads import UsagePayload
from metering.services.receipts import own_leases
from metering.services.reported_usage import (
    LineFault,
    check_event_id,
    check_occurred_at,
    find_meter,
    read_dimensions,
    read_quantity,
)

_CONFLICT: Final = "This id was used for something else: nothing was counted."


@dataclass(frozen=True, slots=True)
class RecordCommand:
    """Somebody reports usage."""

    credentials: Credentials
    events: UsageEvents


@dataclass(frozen=True, slots=True)
class _Kind:
    """What events of one meter with the same dimensions have in common."""

    meter: MeterTerms
    dimensions: Mapping[str, str]
    payload: UsagePayload
    hold_id: UUID | None


class _Recording(Job):
    """One command on its way: `requests` of its sound events at `places`, `faults` of the others."""

    __slots__ = ("_event_ids", "_kinds", "_leases", "at", "events", "faults", "fields", "places")

    def __init__(self, command: RecordCommand, known: KnownCaller) -> None:
        super().__init__(command.credentials, known)
        self.events = command.events
        self.fields: Mapping[str, str] = {}
        self.faults: dict[int, LineFault] = {}
        self.places: list[int] = []
        # Made once: a batch that is done again carries the same ids, so that nothing counts twice.
        self._event_ids = [new_id() for _ in command.events.items]
        self.prepare()

    @property
    def touched(self) -> frozenset[UUID]:
        """The meters that something was sent for, and the cost meters derived from them."""
        meters = (request.lines[0].meter for request in self.requests)
        # By identity first: a thousand events share a few meters, and hashing a UUID is slow.
        return frozenset(each for meter in {id(meter): meter for meter in meters}.values() for each in meter.reach)

    def prepare(self) -> None:
        access = self.known.access
        self.at = at = access.clock.now()
        self.faults = {}
        self.places = []
        self._kinds: dict[tuple[str, bytes, str | None], _Kind] = {}
        self._leases: dict[str, UUID] = {}
        caller, digests = self.known.metering, EventDigests(access.facts.license.id)
        meters = self.known.meters_by_type if self.events.by_type else self.known.meters
        oldest, newest = at - settings.PERMETER_ACCEPTANCE_WINDOW, at + settings.PERMETER_FUTURE_TOLERANCE
        requests = []
        for place, (event, event_id) in enumerate(zip(self.events.items, self._event_ids, strict=True)):
            try:
                if isinstance(event, Problem):
                    raise _event_fault(event)
                check_event_id(event.id)
                kind = self._kind(event, meters)
                occurred_at = event.occurred_at
                occurred_at = at if occurred_at is None else check_occurred_at(occurred_at, oldest, newest)
                quantity, written = read_quantity(event.quantity, kind.meter, kind.dimensions)
            except LineFault as fault:
                self.faults[place] = fault
                continue
            self.places.append(place)
            requests.append(
                Request(
                    caller=caller,
                    kind=EventKind.USAGE,
                    id=event.id,
                    digest=digests.of(event.id),
                    fingerprint=kind.payload.fingerprint(written),
                    lines=(Line(kind.meter, quantity, kind.dimensions, occurred_at, event_id),),
                    at=at,
                    occurred_given=event.occurred_at is not None,
                    hold_id=kind.hold_id,
                )
            )
        self.requests = requests

    def _kind(self, event: ReportedEvent, meters: Mapping[str, MeterTerms]) -> _Kind:
        """Found once for each meter and dimensions in a batch."""
        key = (event.meter, bytes(event.dimensions or b""), event.hold_id)
        kind = self._kinds.get(key)
        if kind is None:
            meter = find_meter(meters, event.meter)
            dimensions = read_dimensions(event.dimensions, meter)
            hold_id = None if event.hold_id is None else self._lease(event.hold_id)
            payload = UsagePayload(meter.id, dimensions, hold_id)
            kind = self._kinds[key] = _Kind(meter, dimensions, payload, hold_id)
        return kind

    def _lease(self, text: str) -> UUID:
        """The caller's own hold of this id, open or not. Raises LineFault `unknown_hold`."""
        hold_id = self._leases.get(text)
        if hold_id is None:
            try:
                hold_id = decode_id(Prefix.HOLD, text)
            except ValueError:
                hold_id = None
            if hold_id is None or hold_id not in own_leases(self.known.metering, [hold_id]):
                raise LineFault("hold_id", "unknown_hold", "There is no such hold.")
            self._leases[text] = hold_id
        return hold_id


def record_many(commands: Sequence[RecordCommand]) -> list[Answer[UsageAnswer] | Problem]:
    """What became of the events of each command, in order: one flight to Valkey, one transaction for all of them.

    A call costs its events. Raises Unavailable and OutcomeUnknown for the batch as a whole.
    """
    asks = [
        Ask(command.credentials, partial(_plan, command), cost=max(1, len(command.events.items)))
        for command in commands
    ]
    admitted = admit_many(asks)
    jobs = [found.plan for found in admitted if isinstance(found, Admission)]
    post_many(jobs)
    shared: dict[UUID, QuotaStatus] = {}
    answers: list[Answer[UsageAnswer] | Problem] = []
    for found in admitted:
        if isinstance(found, Problem):
            answers.append(found)
        else:
            found.plan.fields = found.fields
            answers.append(_answer(found.plan, shared))
    return answers


def _plan(command: RecordCommand, known: KnownCaller) -> _Recording | Problem:
    job = _Recording(command, known)
    return _rejection(job.faults[0]) if command.events.lone and job.faults else job


def _answer(job: _Recording, shared: dict[UUID, QuotaStatus]) -> Answer[UsageAnswer] | Problem:
    problem = job.problem
    if problem is None and job.events.lone:
        if job.faults:
            problem = _rejection(job.faults[0])
        elif job.requests[0].verdict is Verdict.CONFLICT:
            problem = Conflict("id_conflict", _CONFLICT)
    if problem is not None:
        problem.headers |= dict(job.fields)
        return problem
    posted = job.posted
    asked = Asked(job.known.quotas, job.at, job.touched)
    quotas = [] if posted is None else statuses_from(asked, posted.balances, shared)
    results: list[UsageResult | None] = [None] * len(job.events.items)
    for place, request in zip(job.places, job.requests, strict=True):
        results[place] = _result(request)
    for place, fault in job.faults.items():
        event = job.events.items[place]
        id = job.events.ids.get(place) if isinstance(event, Problem) else event.id
        results[place] = UsageResult(id, "rejected", code=fault.code, detail=str(fault))
    shown = [result for result in results if result is not None]
    counts = Counter([result.status for result in shown])
    body = UsageAnswer(
        recorded=counts["recorded"],
        duplicates=counts["duplicate"],
        conflicts=counts["conflict"],
        rejected=counts["rejected"],
        results=shown,
        quotas=quota_bodies(quotas),
    )
    return Answer(body, job.fields)


def _result(request: Request) -> UsageResult:
    if request.verdict is not Verdict.DONE and request.verdict is not Verdict.REPLAYED:
        return UsageResult(request.id, "conflict", code="id_conflict", detail=_CONFLICT)
    event_id = request.lines[0].event_id if request.known is None else request.known.event_ids[0]
    status: Literal["recorded", "duplicate"] = "recorded" if request.verdict is Verdict.DONE else "duplicate"
    flags = request.lines[0].flags
    if flags:
        return UsageResult(request.id, status, encode_id(Prefix.EVENT, event_id), flags=list(flags))
    return UsageResult(request.id, status, encode_id(Prefix.EVENT, event_id))


def _event_fault(problem: Problem) -> LineFault:
    error = problem.errors[0] if problem.errors else None
    return LineFault(error["field"] if error else "", "event_invalid", problem.detail or problem.title)


def _rejection(fault: LineFault) -> Invalid:
    """A lone event's fault, with the code that it would have in a batch."""
    error = FieldError(field=fault.field, code=fault.code, detail=fault.detail)
    return Invalid(fault.detail, code=fault.code, errors=[error])
