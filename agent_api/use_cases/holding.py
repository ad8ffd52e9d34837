"""What becomes of holds: released, extended; and which of one's own are open. Settling has a place of its own."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import UUID

from agent_api.use_cases.answering import Answer
from agent_api.use_cases.callers import Admission, Ask, Credentials, KnownCaller, admit_many
from agent_api.wire.answers import HoldAnswer, HoldList
from agent_api.wire.shapes import hold_body, quota_bodies
from common.errors import Forbidden, NotFound, Problem
from common.ids import Prefix, decode_id, encode_id
from common.pagination import paginate
from licenses.domain.decision import decide_license
from metering.selectors.holds import holds_in_force
from metering.selectors.quota_statuses import Asked, statuses_of
from metering.services import holds
from metering.services.hold_rows import StoredHold, find_holds
from metering.services.holds import HoldAsk
from metering.services.leases import release_lease
from metering.services.patience import Busy, lock_timeout
from tenants.domain.actors import Actor
from tenants.domain.enums import ActorKind

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class HoldCommand:
    """Somebody acts on the hold with this (public) id; `ttl` in seconds, to extend it."""

    credentials: Credentials
    hold: str
    ttl: int = 0


@dataclass(frozen=True, slots=True)
class _Acting:
    """A command whose caller was let in: on which hold it acts, and when."""

    place: int
    command: HoldCommand
    admission: Admission[None]
    ask: HoldAsk


def release_many(commands: Sequence[HoldCommand]) -> list[Answer[HoldAnswer] | Problem]:
    """Give everything back; a token that carried it is revoked. NotFound, Conflict, RevocationPending."""
    outcomes, acting = _let_in(commands)
    found = find_holds([(each.ask.caller, each.ask.hold_id) for each in acting])
    impatient_of_leases(hold for hold in found if not isinstance(hold, Problem))
    is_lease = [not isinstance(hold, Problem) and hold.lease for hold in found]
    others = [each for each, lease in zip(acting, is_lease, strict=True) if not lease]
    done = [(each, _released_lease(each)) for each, lease in zip(acting, is_lease, strict=True) if lease]
    done += zip(others, holds.release_many([each.ask for each in others]), strict=True)
    return _answered(outcomes, done)


def extend_many(commands: Sequence[HoldCommand]) -> list[Answer[HoldAnswer] | Problem]:
    """Let holds go on for `ttl` seconds from now; only while the licence holds.

    Forbidden with the code of what stands against it, NotFound, Conflict.
    """
    outcomes, acting = _let_in(commands)
    refused = [(each, _against(each)) for each in acting]
    for each, problem in refused:
        if problem is not None:
            outcomes[each.place] = problem
    acting = [each for each, problem in refused if problem is None]
    extended = holds.extend_many([each.ask for each in acting], [each.command.ttl for each in acting])
    return _answered(outcomes, list(zip(acting, extended, strict=True)))


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


def hold_id_of(text: str) -> UUID | None:
    """The id behind a public one; None where it is none of a hold."""
    try:
        return decode_id(Prefix.HOLD, text)
    except ValueError:
        return None


def meters_of(known: KnownCaller, hold: StoredHold) -> frozenset[UUID]:
    """The meters of a hold, and the cost meters derived from them."""
    codes = {line["meter"] for line in hold.usage}
    meters = (known.meters.get(code) for code in codes)
    return frozenset(each for meter in meters if meter is not None for each in meter.reach)


def impatient_of_leases(found: Iterable[StoredHold]) -> None:
    """Raises Busy where some are leases and others wait for this batch: revoking their tokens takes its time."""
    if lock_timeout() is not None and any(hold.lease for hold in found):
        raise Busy


def _let_in(commands: Sequence[HoldCommand]) -> tuple[list[Answer[HoldAnswer] | Problem], list[_Acting]]:
    """Who may act, and, at the others' places, why not."""
    outcomes: list[Answer[HoldAnswer] | Problem] = []
    acting: list[_Acting] = []
    admitted = admit_many([Ask(command.credentials, _nothing) for command in commands])
    for place, (command, admission) in enumerate(zip(commands, admitted, strict=True)):
        hold_id = hold_id_of(command.hold)
        if isinstance(admission, Problem):
            outcomes.append(admission)
            continue
        outcomes.append(_no_such_hold(admission))
        if hold_id is not None:
            known = admission.known
            ask = HoldAsk(known.metering, hold_id, known.access.clock.now())
            acting.append(_Acting(place, command, admission, ask))
    return outcomes, acting


def _no_such_hold(admission: Admission[None]) -> NotFound:
    problem = NotFound("There is no such hold.")
    problem.headers |= admission.fields
    return problem


def _against(acting: _Acting) -> Problem | None:
    """What of the licence stands against it."""
    # Whose hold it is was decided when it was made: no machine has to be named again.
    facts = replace(acting.admission.known.access.facts, activation_required=False)
    decision = decide_license(facts, at=acting.ask.at)
    if decision.valid:
        return None
    problem = Forbidden(decision.code.value, decision.reasons[0].message)
    problem.headers |= acting.admission.fields
    return problem


def _released_lease(acting: _Acting) -> StoredHold | Problem:
    ask = acting.ask
    try:
        return release_lease(
            caller=ask.caller, hold_id=ask.hold_id, at=ask.at, actor=agent_actor(acting.admission.known)
        )
    except Problem as problem:
        return problem


def _answered(
    outcomes: list[Answer[HoldAnswer] | Problem], done: Sequence[tuple[_Acting, StoredHold | Problem]]
) -> list[Answer[HoldAnswer] | Problem]:
    """The outcomes with what was done at its places; where the quotas stand is read for all of them at once."""
    changed = [(acting, hold) for acting, hold in done if not isinstance(hold, Problem)]
    asked = [
        Asked(acting.admission.known.quotas, acting.ask.at, meters_of(acting.admission.known, hold))
        for acting, hold in changed
    ]
    for (acting, hold), statuses in zip(changed, statuses_of(asked), strict=True):
        body = HoldAnswer(hold_body(hold), [], quota_bodies(statuses), replayed=False)
        outcomes[acting.place] = Answer(body, acting.admission.fields)
    for acting, problem in done:
        if isinstance(problem, Problem):
            problem.headers |= acting.admission.fields
            outcomes[acting.place] = problem
    return outcomes


def _nothing(_known: KnownCaller) -> None:
    return None
