"""What becomes of holds: settled, released, extended; and which of one's own are open."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import UUID

from agent_api.use_cases.answering import Answer
from agent_api.use_cases.callers import Admission, Ask, Credentials, KnownCaller, admit_many, renew
from agent_api.use_cases.usage_lines import AskedLine, check_lines
from agent_api.wire.answers import HoldAnswer, HoldList
from agent_api.wire.requests import SettleRequest
from agent_api.wire.shapes import Hold, hold_body, quota_bodies
from common.errors import Forbidden, NotFound, Problem, Unavailable
from common.ids import Prefix, decode_id, encode_id
from common.pagination import paginate
from licenses.domain.decision import decide_license
from metering.domain.holds import SettledLine
from metering.selectors.holds import holds_in_force
from metering.selectors.quota_statuses import Asked, statuses_from, statuses_of
from metering.services import holds
from metering.services.leases import end_settled_lease, release_lease
from metering.services.ledger import StaleCallers
from tenants.domain.actors import Actor
from tenants.domain.enums import ActorKind

_ROUNDS = 8

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class HoldCommand:
    """Somebody acts on the hold with this (public) id."""

    credentials: Credentials
    hold: str


def settle(command: HoldCommand, asked: SettleRequest) -> Answer[HoldAnswer]:
    """Count what was really used and give back the rest, or count a part and let the hold go on.

    A fact: it is counted whatever the licence and the quotas say by now. Raises NotFound, Conflict, Invalid.
    """
    admission = admit(command.credentials, partial(_lines, asked))
    with rate_fields_on_problems(admission):
        hold_id = _hold_id(command.hold)
        known, lines = admission.known, admission.plan
        for _ in range(_ROUNDS):
            at = known.access.clock.now()
            try:
                settled = holds.settle(
                    caller=known.metering,
                    hold_id=hold_id,
                    asked=[SettledLine(line.meter, line.quantity, line.dimensions) for line in lines],
                    id=asked.id,
                    final=asked.final,
                    at=at,
                )
            except StaleCallers:
                known, lines = _renewed(command.credentials, known, asked)
            else:
                end_settled_lease(hold=settled.hold, actor=agent_actor(known))
                meters = _meters(known, settled.hold)
                statuses = statuses_from(Asked(known.quotas, at, meters), settled.posted.balances)
                body = HoldAnswer(
                    hold=hold_body(settled.hold),
                    event_ids=[encode_id(Prefix.EVENT, event_id) for event_id in settled.event_ids],
                    quotas=quota_bodies(statuses),
                    replayed=settled.replayed,
                )
                return Answer(body, admission.fields)
        raise Unavailable


def release(command: HoldCommand) -> Answer[HoldAnswer]:
    """Give everything back; a token that carried it is revoked. Raises NotFound, Conflict, RevocationPending."""
    admission = admit(command.credentials, _nothing)
    with rate_fields_on_problems(admission):
        at = admission.known.access.clock.now()
        hold = release_lease(
            caller=admission.known.metering,
            hold_id=_hold_id(command.hold),
            at=at,
            actor=agent_actor(admission.known),
        )
        return _answer(admission, hold, at)


def extend(command: HoldCommand, ttl: int) -> Answer[HoldAnswer]:
    """Let a hold go on for `ttl` seconds from now; only while the licence holds.

    Raises Forbidden with the code of what stands against it, NotFound, Conflict.
    """
    admission = admit(command.credentials, _nothing)
    with rate_fields_on_problems(admission):
        at = admission.known.access.clock.now()
        # Whose hold it is was decided when it was made: no machine has to be named again.
        decision = decide_license(replace(admission.known.access.facts, activation_required=False), at=at)
        if not decision.valid:
            raise Forbidden(decision.code.value, decision.reasons[0].message)
        hold = holds.extend(caller=admission.known.metering, hold_id=_hold_id(command.hold), ttl=ttl, at=at)
        return _answer(admission, hold, at)


def list_open(credentials: Credentials, *, limit: int, cursor: str | None) -> Answer[HoldList]:
    """The caller's own open holds, newest first: for an agent that restarted. Raises Invalid for a bad cursor."""
    admission = admit(credentials, _nothing)
    with rate_fields_on_problems(admission):
        access = admission.known.access
        if access.agent_id is None:
            raise NotFound
        found = holds_in_force(access.tenant_id, agent_id=access.agent_id, at=access.clock.now())
        page = paginate(found, limit=limit, cursor=cursor, bound_to=f"holds of {access.agent_id}")
        return Answer(HoldList([hold_body(hold) for hold in page.items], page.next_cursor), admission.fields)


def admit(credentials: Credentials, plan: Callable[[KnownCaller], P | Problem]) -> Admission[P]:
    """Let one caller in. Raises what refuses it."""
    [admission] = admit_many([Ask(credentials, plan)])
    if isinstance(admission, Problem):
        raise admission
    return admission


@contextmanager
def rate_fields_on_problems(admission: Admission[P]) -> Iterator[None]:
    """Rate-limit fields stand on refusals, too."""
    try:
        yield
    except Problem as problem:
        problem.headers |= admission.fields
        raise


def agent_actor(known: KnownCaller) -> Actor:
    """The calling agent, or licence, as the audit trail names it."""
    agent = known.access.facts.agent
    if agent is None:
        return Actor(kind=ActorKind.AGENT, id=encode_id(Prefix.LICENSE, known.access.facts.license.id))
    return Actor(kind=ActorKind.AGENT, id=encode_id(Prefix.AGENT, agent.id), name=agent.name)


def _nothing(_known: KnownCaller) -> None:
    return None


def _lines(asked: SettleRequest, known: KnownCaller) -> Sequence[AskedLine] | Problem:
    return check_lines(known, asked.usage, settling=True)


def _renewed(
    credentials: Credentials, known: KnownCaller, asked: SettleRequest
) -> tuple[KnownCaller, Sequence[AskedLine]]:
    found = renew([(credentials, known)])[id(known)]
    if isinstance(found, Problem):
        raise found
    lines = _lines(asked, found)
    if isinstance(lines, Problem):
        raise lines
    return found, lines


def _hold_id(text: str) -> UUID:
    try:
        return decode_id(Prefix.HOLD, text)
    except ValueError:
        raise NotFound("There is no such hold.") from None


def _answer(admission: Admission[None], hold: Hold, at: datetime) -> Answer[HoldAnswer]:
    known = admission.known
    [statuses] = statuses_of([Asked(known.quotas, at, _meters(known, hold))])
    return Answer(HoldAnswer(hold_body(hold), [], quota_bodies(statuses), replayed=False), admission.fields)


def _meters(known: KnownCaller, hold: Hold) -> frozenset[UUID]:
    codes = {line["meter"] for line in hold.usage}
    meters = (known.meters.get(code) for code in codes)
    return frozenset(each for meter in meters if meter is not None for each in meter.reach)
