"""A batch of calls and what becomes of each: decoded apart, decided together, one use case at a time.

The decoders, use cases, encoders and the table of exceptions are those of the views.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import UUID

import structlog

from agent_api.door.answering import Reply, reply_of
from agent_api.door.heads import Head, Operation
from agent_api.use_cases.answering import Answer
from agent_api.use_cases.authorizing import AuthorizeCommand, authorize_many
from agent_api.use_cases.holding import HoldCommand, extend_many, release_many
from agent_api.use_cases.known_callers import find
from agent_api.use_cases.recording import RecordCommand, record_many
from agent_api.use_cases.settling import SettleCommand, settle_many
from agent_api.use_cases.validating import ValidateCommand, validate_many
from agent_api.views.base import credentials_of, idempotency_key_of, read
from agent_api.wire.requests import read_authorize, read_extend, read_nothing, read_settle, read_validate
from agent_api.wire.usage import ACCEPTED, read_usage
from common.errors import OutcomeUnknown, Problem
from common.http_json import check_content_type
from common.ids import new_id
from common.problems import exception_to_problem
from metering.services.patience import Busy, short_patience

log = structlog.get_logger(__name__)

C = TypeVar("C")
Outcome = Answer[Any] | Problem


class Call(Protocol):
    """A request whose body has been read."""

    @property
    def head(self) -> Head: ...
    @property
    def body(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class PutAside:
    """A call that has to wait for what somebody else is doing in its workspace; `tenant_id` is None for nobody's."""

    tenant_id: UUID | None


def answer_calls(
    calls: Sequence[Call], *, aside: Collection[UUID] = (), patience: int | None = None
) -> list[Reply | PutAside]:
    """A reply for each call, in order.

    With `patience` (milliseconds) calls of a batch that finds something locked are put aside, as are calls of the
    workspaces `aside` that would write: somebody who has time does them.
    """
    outcomes: dict[int, Outcome | PutAside] = {}
    for operation, (command_of, many) in _WORK.items():
        commands: list[tuple[int, Any]] = []
        for place, call in enumerate(calls):
            if call.head.operation is not operation:
                continue
            try:
                command = command_of(call)
            except Exception as error:  # noqa: BLE001 - the table says what it is
                outcomes[place] = _problem_of(error)
                continue
            tenant_id = _tenant_of(command) if aside and operation is not Operation.VALIDATE else None
            if tenant_id in aside:
                outcomes[place] = PutAside(tenant_id)
            else:
                commands.append((place, command))
        found = _decided(many, [command for _, command in commands], patience)
        outcomes |= zip((place for place, _ in commands), found, strict=True)
    replies: list[Reply | PutAside] = []
    for place, call in enumerate(calls):
        outcome = outcomes[place]
        replies.append(outcome if isinstance(outcome, PutAside) else reply_of(outcome, call.head.request_id))
    return replies


def _validate_command(call: Call) -> ValidateCommand:
    head = call.head
    credentials = credentials_of(head)

    def decode() -> Any:
        check_content_type(head, call.body)
        return read_validate(call.body)

    asked = read(credentials, decode, publishable=True)
    return ValidateCommand(credentials._replace(license_key=asked.license_key), asked)


def _authorize_command(call: Call) -> AuthorizeCommand:
    head = call.head
    credentials = credentials_of(head)

    def decode() -> Any:
        check_content_type(head, call.body)
        return read_authorize(call.body, idempotency_key_of(head))

    asked = read(credentials, decode)
    if asked.id is None:
        # Made before anything can fail, so that whatever is done again is the same step.
        asked.id = str(new_id())
    return AuthorizeCommand(credentials, asked)


def _record_command(call: Call) -> RecordCommand:
    head = call.head
    credentials = credentials_of(head)

    def decode() -> Any:
        return read_usage(call.body, check_content_type(head, call.body, ACCEPTED))

    return RecordCommand(credentials, read(credentials, decode))


def _settle_command(call: Call) -> SettleCommand:
    head = call.head
    credentials = credentials_of(head)

    def decode() -> Any:
        check_content_type(head, call.body)
        return read_settle(call.body, idempotency_key_of(head))

    return SettleCommand(credentials, head.hold, read(credentials, decode))


def _release_command(call: Call) -> HoldCommand:
    head = call.head
    credentials = credentials_of(head)

    def decode() -> None:
        check_content_type(head, call.body)
        read_nothing(call.body)

    read(credentials, decode)
    return HoldCommand(credentials, head.hold)


def _extend_command(call: Call) -> HoldCommand:
    head = call.head
    credentials = credentials_of(head)

    def decode() -> Any:
        check_content_type(head, call.body)
        return read_extend(call.body)

    return HoldCommand(credentials, head.hold, read(credentials, decode).ttl)


_WORK: dict[Operation, tuple[Callable[[Call], Any], Callable[[Any], Sequence[Outcome]]]] = {
    Operation.VALIDATE: (_validate_command, validate_many),
    Operation.AUTHORIZE: (_authorize_command, authorize_many),
    Operation.USAGE: (_record_command, record_many),
    Operation.SETTLE: (_settle_command, settle_many),
    Operation.RELEASE: (_release_command, release_many),
    Operation.EXTEND: (_extend_command, extend_many),
}


def _decided(
    many: Callable[[Sequence[C]], Sequence[Outcome]], commands: Sequence[C], patience: int | None
) -> Sequence[Outcome | PutAside]:
    """The outcome of each command. What nobody foresaw hurts only the command that brings it."""
    if not commands:
        return []
    try:
        if patience is None:
            return many(commands)
        with short_patience(patience):
            return many(commands)
    except Busy:
        return _apart(many, commands, patience)
    except Exception as error:  # noqa: BLE001 - the table says what it is
        problem = exception_to_problem(error)
        if problem is not None or len(commands) == 1:
            problem = problem or _unforeseen(error)
            return [_own(problem, command) for command in commands]
        log.warning("door.batch_taken_apart", error=type(error).__name__, commands=len(commands))
        return [_decided(many, [command], patience)[0] for command in commands]


def _apart(
    many: Callable[[Sequence[C]], Sequence[Outcome]], commands: Sequence[C], patience: int | None
) -> Sequence[Outcome | PutAside]:
    """Each workspace by itself: something is locked in one of them, and only that one has to wait."""
    places: dict[UUID | None, list[int]] = {}
    for place, command in enumerate(commands):
        places.setdefault(_tenant_of(command), []).append(place)
    if len(places) == 1:
        return [PutAside(tenant_id) for tenant_id, group in places.items() for _ in group]
    outcomes: dict[int, Outcome | PutAside] = {}
    for group in places.values():
        outcomes |= zip(group, _decided(many, [commands[place] for place in group], patience), strict=True)
    return [outcomes[place] for place in range(len(commands))]


def _tenant_of(command: Any) -> UUID | None:
    known = find(command.credentials)
    return None if isinstance(known, Problem) else known.access.tenant_id


def _own(problem: Problem, command: object) -> Problem:
    """A copy for one caller of what went wrong for all of them."""
    if isinstance(problem, OutcomeUnknown):
        return OutcomeUnknown(command.asked.id if isinstance(command, AuthorizeCommand) else None)
    own = copy.copy(problem)
    own.headers = dict(problem.headers)
    return own


def _problem_of(error: Exception) -> Problem:
    return exception_to_problem(error) or _unforeseen(error)


def _unforeseen(error: Exception) -> Problem:
    log.error("door.failed", error=type(error).__name__, exc_info=error)
    return Problem()
