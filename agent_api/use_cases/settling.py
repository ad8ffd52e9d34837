"""`holds/{hold}/settle`: so much of what was held was really used. A fact, counted whatever licence and quotas say."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from agent_api.use_cases.answering import Answer
from agent_api.use_cases.callers import Admission, Ask, Credentials, KnownCaller, admit_many
from agent_api.use_cases.holding import agent_actor, hold_id_of, impatient_of_leases, meters_of
from agent_api.use_cases.posting import Job, post_many
from agent_api.use_cases.usage_lines import AskedLine, check_lines
from agent_api.wire.answers import HoldAnswer
from agent_api.wire.requests import SettleRequest
from agent_api.wire.shapes import hold_body, quota_bodies
from common.errors import NotFound, Problem
from common.ids import Prefix, encode_id
from metering.domain.holds import SettledLine
from metering.domain.requests import Verdict
from metering.selectors.quota_statuses import Asked, statuses_from
from metering.services.hold_rows import StoredHold, find_holds
from metering.services.holds import holder_of
from metering.services.leases import end_settled_lease
from metering.services.settling import Settlement, settlement_of


@dataclass(frozen=True, slots=True)
class SettleCommand:
    """Somebody settles the hold with this (public) id, or a part of it."""

    credentials: Credentials
    hold: str
    asked: SettleRequest


class _Settling(Job):
    """One command on its way into the ledger."""

    __slots__ = ("at", "hold", "lines", "settlement", "wanted")

    def __init__(self, command: SettleCommand, known: KnownCaller, hold: StoredHold) -> None:
        super().__init__(command.credentials, known)
        self.wanted = command.asked
        self.hold = hold
        self.at: datetime = known.access.clock.now()
        self.lines: Sequence[AskedLine] = ()
        self.settlement: Settlement | None = None
        self.prepare()

    def prepare(self) -> None:
        self.at = self.known.access.clock.now()
        lines = check_lines(self.known, self.wanted.usage, settling=True)
        holder = holder_of(self.hold, self.known.metering)
        if isinstance(lines, Problem) or holder is None:
            self.problem = lines if isinstance(lines, Problem) else NotFound("There is no such hold.")
            return
        self.lines = lines
        self.settlement = settlement_of(
            caller=holder,
            hold=self.hold,
            asked=[SettledLine(line.meter, line.quantity, line.dimensions) for line in lines],
            id=self.wanted.id,
            final=self.wanted.final,
            at=self.at,
        )
        self.requests = [self.settlement.request]

    def settlements(self) -> Sequence[Settlement]:
        return () if self.settlement is None else (self.settlement,)

    @property
    def touched(self) -> frozenset[UUID]:
        """The meters of the hold and of what was settled, and the cost meters derived from those."""
        settled = [meter for line in self.lines for meter in line.meter.reach]
        return meters_of(self.known, self.hold).union(settled)


def settle_many(commands: Sequence[SettleCommand]) -> list[Answer[HoldAnswer] | Problem]:
    """Count what was really used and give back the rest, or count a part and let the hold go on; in one transaction.

    NotFound, Conflict, Invalid; RevocationPending where a signed licence carried the hold. Raises Unavailable and
    OutcomeUnknown for the batch as a whole.
    """
    admitted = admit_many([Ask(command.credentials, partial(_plan, command)) for command in commands])
    jobs = _jobs(commands, admitted)
    impatient_of_leases(job.hold for job in jobs if isinstance(job, _Settling) and job.wanted.final)
    post_many([job for job in jobs if isinstance(job, _Settling)])
    answers: list[Answer[HoldAnswer] | Problem] = []
    for found, job in zip(admitted, jobs, strict=True):
        answer = _answer(job) if isinstance(job, _Settling) else job
        if isinstance(found, Admission):
            answer = _with_fields(answer, found.fields)
        answers.append(answer)
    return answers


def _plan(command: SettleCommand, known: KnownCaller) -> Problem | None:
    lines = check_lines(known, command.asked.usage, settling=True)
    return lines if isinstance(lines, Problem) else None


def _jobs(
    commands: Sequence[SettleCommand], admitted: Sequence[Admission[None] | Problem]
) -> list[_Settling | Problem]:
    outcomes: list[_Settling | Problem] = [NotFound("There is no such hold.")] * len(commands)
    asked = []
    for place, (command, found) in enumerate(zip(commands, admitted, strict=True)):
        hold_id = hold_id_of(command.hold)
        if isinstance(found, Problem):
            outcomes[place] = found
        elif hold_id is None:
            outcomes[place] = NotFound("There is no such hold.")
        else:
            asked.append((place, command, found.known, hold_id))
    holds = find_holds([(known.metering, hold_id) for _, _, known, hold_id in asked])
    for (place, command, known, _), hold in zip(asked, holds, strict=True):
        outcomes[place] = hold if isinstance(hold, Problem) else _Settling(command, known, hold)
    return outcomes


def _answer(job: _Settling) -> Answer[HoldAnswer] | Problem:
    settlement, posted = job.settlement, job.posted
    if job.problem is not None or settlement is None or posted is None:
        return job.problem or NotFound("There is no such hold.")
    problem = settlement.outcome()
    if problem is not None:
        return problem
    try:
        end_settled_lease(hold=settlement.hold, actor=agent_actor(job.known))
    except Problem as pending:
        return pending
    statuses = statuses_from(Asked(job.known.quotas, job.at, job.touched), posted.balances)
    body = HoldAnswer(
        hold=hold_body(settlement.hold),
        event_ids=[encode_id(Prefix.EVENT, event_id) for event_id in settlement.event_ids],
        quotas=quota_bodies(statuses),
        replayed=settlement.request.verdict is Verdict.REPLAYED,
    )
    return Answer(body)


def _with_fields(answer: Answer[HoldAnswer] | Problem, fields: dict[str, str]) -> Answer[HoldAnswer] | Problem:
    """Rate-limit fields stand on refusals, too."""
    if isinstance(answer, Problem):
        answer.headers |= fields
        return answer
    return Answer(answer.body, fields)
