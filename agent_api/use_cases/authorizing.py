"""`authorize`: may I do this now, and count it. The licence first, then every quota on every level, in one step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final
from uuid import UUID

from agent_api.use_cases.activated import check_names, standing_activations
from agent_api.use_cases.answering import Answer
from agent_api.use_cases.callers import Admission, Ask, Credentials, KnownCaller, admit_many
from agent_api.use_cases.posting import Job, post_many
from agent_api.use_cases.usage_lines import AskedLine, check_lines
from agent_api.wire.answers import AuthorizeAnswer, HoldBody, ReasonBody
from agent_api.wire.requests import DEFAULT_TTL, AuthorizeRequest
from agent_api.wire.shapes import (
    hold_body,
    hold_limit_refusal,
    quota_bodies,
    quota_refusal,
    rate_refusal,
    reason_bodies,
)
from common.errors import Conflict, Problem
from common.ids import Prefix, encode_id, new_id
from common.quantities import format_quantity
from licenses.domain.decision import LicenseDecision, decide_license
from licenses.domain.facts import ActivationFacts, AskedValue
from licenses.services.gate import note_refusal
from metering.domain.enums import EventKind, HoldStatus, OnExcess
from metering.domain.quota_keys import event_digest
from metering.domain.requests import Line, Refusal, Request, Unrated, Verdict
from metering.selectors.holds import list_holds
from metering.selectors.quota_statuses import Asked, QuotaStatus, statuses_from, statuses_of
from metering.services.asking import full_quotas
from metering.services.lines import CountedLine, lines_counted
from metering.services.payloads import ask_fingerprint

ALLOWED: Final = "allowed"
_KINDS = {"consume": EventKind.CONSUME, "hold": EventKind.HOLD}


@dataclass(frozen=True, slots=True)
class AuthorizeCommand:
    """Somebody asks to be allowed something, and to have it counted or held."""

    credentials: Credentials
    asked: AuthorizeRequest


@dataclass(frozen=True, slots=True)
class _NewHold:
    """A hold that is asked for, as it will be stored."""

    id: UUID
    client_id: str
    on_excess: OnExcess
    usage: list[dict[str, Any]]
    expires_at: datetime
    status: str = HoldStatus.OPEN

    @property
    def settled(self) -> list[str]:
        return ["0"] * len(self.usage)


class _Authorization(Job):
    """One command on its way: `decision` of its licence, `lines` of its usage, `hold` if one is asked for."""

    __slots__ = ("_event_ids", "_hold_id", "activation", "asked", "at", "decision", "fields", "hold", "id", "lines")

    def __init__(
        self,
        command: AuthorizeCommand,
        known: KnownCaller,
        lines: Sequence[AskedLine],
        fields: Mapping[str, str],
        activation: ActivationFacts | None = None,
    ) -> None:
        super().__init__(command.credentials, known)
        self.asked = command.asked
        self.fields = fields
        self.activation = activation
        self.lines = lines
        self.id = command.asked.id or str(new_id())
        self.hold: _NewHold | None = None
        # Made once: a batch that is done again carries the same ids, so that nothing counts twice.
        self._event_ids = [new_id() for _ in lines]
        self._hold_id = new_id()
        self._decide()

    @property
    def counts(self) -> bool:
        """Whether anything shall be counted or held."""
        return self.asked.mode != "check"

    @property
    def wanted(self) -> Asked:
        """The quotas that the answer shows: of the meters asked for and what is derived from them, or all."""
        meters = frozenset(each for line in self.lines for each in line.meter.reach) or None
        return Asked(self.known.quotas, self.at, meters)

    def prepare(self) -> None:
        lines = _lines(self.asked, self.known)
        self.requests = ()
        if isinstance(lines, Problem):
            self.problem = lines
        else:
            self.lines = lines
            # Its licence may have had none when this call came in.
            [self.activation] = standing_activations([_named(self.known, self.asked)])
            self._decide()

    def intents(self) -> dict[UUID, tuple[datetime, OnExcess]]:
        return {} if self.hold is None else {self.hold.id: (self.hold.expires_at, self.hold.on_excess)}

    def _decide(self) -> None:
        access = self.known.access
        self.at = access.clock.now()
        self.decision: LicenseDecision = _decide_license(self.asked, self.known, self.at, self.activation)
        if not self.decision.valid or not self.counts:
            return
        mode = str(self.asked.mode)
        kind = _KINDS[mode]
        if kind is EventKind.HOLD:
            self.hold = _NewHold(
                id=self._hold_id,
                client_id=self.id,
                on_excess=OnExcess(self.asked.on_excess or OnExcess.COUNT),
                usage=[
                    {
                        "meter": line.meter.code,
                        "quantity": format_quantity(line.quantity),
                        "dimensions": dict(line.dimensions),
                    }
                    for line in self.lines
                ],
                expires_at=self.at + timedelta(seconds=self.asked.ttl or DEFAULT_TTL),
            )
        self.requests = [
            Request(
                caller=self.known.metering,
                kind=kind,
                id=self.id,
                digest=event_digest(access.facts.license.id, b"", self.id),
                fingerprint=ask_fingerprint(
                    mode=mode,
                    feature=self.asked.feature,
                    value=self.asked.value,
                    usage=[(line.meter.id, line.quantity, line.dimensions) for line in self.lines],
                    on_excess=None if self.hold is None else self.hold.on_excess.value,
                ),
                lines=[
                    Line(line.meter, line.quantity, line.dimensions, self.at, event_id)
                    for line, event_id in zip(self.lines, self._event_ids, strict=True)
                ],
                at=self.at,
                hold_id=None if self.hold is None else self.hold.id,
                hold_limits=() if self.hold is None else self.known.metering.hold_limits,
            )
        ]


def authorize_many(commands: Sequence[AuthorizeCommand]) -> list[Answer[AuthorizeAnswer] | Problem]:
    """An answer or a refusal for each command, in order: one flight to Valkey and one transaction for all of them.

    Raises Unavailable and OutcomeUnknown for the batch as a whole.
    """
    asks = [Ask(command.credentials, partial(_lines, command.asked)) for command in commands]
    admitted = admit_many(asks)
    inside = {place: found for place, found in enumerate(admitted) if isinstance(found, Admission)}
    activations = standing_activations([_named(found.known, commands[place].asked) for place, found in inside.items()])
    jobs = {
        place: _Authorization(commands[place], found.known, found.plan, found.fields, activation)
        for (place, found), activation in zip(inside.items(), activations, strict=True)
    }
    post_many(list(jobs.values()))
    standing = _standing([job for job in jobs.values() if job.posted is None and job.problem is None])
    shared: dict[UUID, QuotaStatus] = {}
    answers: list[Answer[AuthorizeAnswer] | Problem] = []
    for place, found in enumerate(admitted):
        if isinstance(found, Problem):
            answers.append(found)
        else:
            job = jobs[place]
            statuses = (
                standing.get(id(job), [])
                if job.posted is None
                else statuses_from(job.wanted, job.posted.balances, shared)
            )
            answers.append(_answer(job, statuses))
    return answers


def _lines(asked: AuthorizeRequest, known: KnownCaller) -> Sequence[AskedLine] | Problem:
    fault = check_names(known, asked.fingerprint, asked.instance)
    return check_lines(known, asked.usage or (), reserving=asked.mode == "hold") if fault is None else fault


def _named(known: KnownCaller, asked: AuthorizeRequest) -> tuple[KnownCaller, str | None, str | None]:
    return known, asked.fingerprint, asked.instance


def _decide_license(
    asked: AuthorizeRequest, known: KnownCaller, at: datetime, activation: ActivationFacts | None
) -> LicenseDecision:
    feature = asked.feature
    return decide_license(
        known.access.facts,
        at=at,
        features=() if feature is None else (feature,),
        feature_value=None if feature is None or asked.value is None else (feature, _value(asked.value)),
        fingerprint=asked.fingerprint if asked.instance is None else asked.instance,
        activation=activation,
    )


def _value(value: bool | float | str | list[str]) -> AskedValue:
    if isinstance(value, list):
        return frozenset(value)
    # repr is the shortest text that reads back as the same float: what the client wrote.
    return Decimal(repr(value)) if isinstance(value, float) else value


def _standing(jobs: Sequence[_Authorization]) -> dict[int, list[QuotaStatus]]:
    """Where the quotas stand of those who brought nothing to the ledger, in one query."""
    found = statuses_of([job.wanted for job in jobs])
    return {id(job): statuses for job, statuses in zip(jobs, found, strict=True)}


def _answer(job: _Authorization, statuses: Sequence[QuotaStatus]) -> Answer[AuthorizeAnswer] | Problem:
    problem = job.problem
    if problem is None and job.posted is not None and job.requests[0].verdict is Verdict.CONFLICT:
        problem = Conflict("id_conflict", "This id was used for something else. Take a new id for a new step.")
    if problem is not None:
        problem.headers |= dict(job.fields)
        return problem
    body = _undone(job, statuses) if job.posted is None else _done(job, job.requests[0], statuses)
    if not body.allowed:
        access = job.known.access
        if access.agent_id is not None:
            note_refusal(access.tenant_id, access.agent_id)
    return Answer(body, job.fields)


def _undone(job: _Authorization, statuses: Sequence[QuotaStatus]) -> AuthorizeAnswer:
    """A check, or a licence that does not hold: nothing was written."""
    counted, unrated = _counted(job)
    refused = [rate_refusal(each) for each in unrated]
    refused += [
        quota_refusal(status, asked) for status, asked in full_quotas(job.known.metering, counted, statuses, job.at)
    ]
    return _body(job, refused, statuses)


def _done(job: _Authorization, request: Request, statuses: Sequence[QuotaStatus]) -> AuthorizeAnswer:
    if request.verdict is Verdict.REFUSED:
        refused = [quota_refusal(_as_status(refusal), refusal.asked) for refusal in request.refusals]
        refused += [rate_refusal(unrated) for unrated in request.unrated]
        refused += [hold_limit_refusal(crowded) for crowded in request.crowded]
        return _body(job, refused, statuses)
    body = _body(job, [], statuses)
    known = request.known
    event_ids = known.event_ids if known is not None else request.event_ids
    body.event_ids = [encode_id(Prefix.EVENT, event_id) for event_id in event_ids]
    body.replayed = request.verdict is Verdict.REPLAYED
    body.hold = _hold(job, request)
    return body


def _body(job: _Authorization, refused: list[ReasonBody], statuses: Sequence[QuotaStatus]) -> AuthorizeAnswer:
    reasons = reason_bodies(job.decision.reasons)
    codes = [reason for reason in reasons if reason.blocks] + refused
    allowed = not codes
    codes += [reason for reason in reasons if not reason.blocks]
    return AuthorizeAnswer(
        allowed=allowed,
        code=ALLOWED if allowed else codes[0].code,
        codes=codes,
        quotas=quota_bodies(statuses),
        hold=None,
        event_ids=[],
        replayed=False,
    )


def _counted(job: _Authorization) -> tuple[list[CountedLine], list[Unrated]]:
    """What the lines would count, if they were written, and what has no rate."""
    counted: list[CountedLine] = []
    unrated: list[Unrated] = []
    for line in job.lines:
        found, missing = lines_counted(job.known.metering, line.meter, line.quantity, line.dimensions, job.at)
        counted += found
        unrated += missing
    return counted, unrated


def _as_status(refusal: Refusal) -> QuotaStatus:
    return QuotaStatus.of(refusal.quota, refusal.standing)


def _hold(job: _Authorization, request: Request) -> HoldBody | None:
    if job.hold is None:
        return None
    known = request.known
    if known is not None and known.hold_id is not None and known.hold_id != job.hold.id:
        stored = list_holds(job.known.access.tenant_id).get(id=known.hold_id)
        return hold_body(stored)
    return hold_body(job.hold)
