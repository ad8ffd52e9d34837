"""A batch of calls and what becomes of each: decoded apart, decided together, one use case at a time.

The decoders, use cases, encoders and the table of exceptions are those of the views.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import structlog

from agent_api.door.answering import Reply, reply_of
from agent_api.door.heads import Head, Operation
from agent_api.use_cases.answering import Answer
from agent_api.use_cases.authorizing import AuthorizeCommand, authorize_many
from agent_api.use_cases.recording import RecordCommand, record_many
from agent_api.use_cases.validating import ValidateCommand, validate_many
from agent_api.views.base import credentials_of, idempotency_key_of, read
from agent_api.wire.requests import read_authorize, read_validate
from agent_api.wire.usage import ACCEPTED, read_usage
from common.errors import OutcomeUnknown, Problem
from common.http_json import check_content_type
from common.ids import new_id
from common.problems import exception_to_problem

log = structlog.get_logger(__name__)

C = TypeVar("C")
Outcome = Answer[Any] | Problem


class Call(Protocol):
    """A request whose body has been read."""

    @property
    def head(self) -> Head: ...
    @property
    def body(self) -> bytes: ...


def answer_calls(calls: Sequence[Call]) -> list[Reply]:
    """A reply for each call, in order."""
    outcomes: dict[int, Outcome] = {}
    for operation, (command_of, many) in _WORK.items():
        places = [place for place, call in enumerate(calls) if call.head.operation is operation]
        if not places:
            continue
        commands: list[tuple[int, Any]] = []
        for place in places:
            try:
                commands.append((place, command_of(calls[place])))
            except Exception as error:  # noqa: BLE001 - the table says what it is
                outcomes[place] = _problem_of(error)
        found = _decided(many, [command for _, command in commands])
        outcomes |= zip((place for place, _ in commands), found, strict=True)
    return [reply_of(outcomes[place], call.head.request_id) for place, call in enumerate(calls)]


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


_WORK: dict[Operation, tuple[Callable[[Call], Any], Callable[[Any], Sequence[Outcome]]]] = {
    Operation.VALIDATE: (_validate_command, validate_many),
    Operation.AUTHORIZE: (_authorize_command, authorize_many),
    Operation.USAGE: (_record_command, record_many),
}


def _decided(many: Callable[[Sequence[C]], Sequence[Outcome]], commands: Sequence[C]) -> Sequence[Outcome]:
    """The outcome of each command. What nobody foresaw hurts only the command that brings it."""
    if not commands:
        return []
    try:
        return many(commands)
    except Exception as error:  # noqa: BLE001 - the table says what it is
        problem = exception_to_problem(error)
        if problem is not None or len(commands) == 1:
            return [_own(problem or _unforeseen(error), command) for command in commands]
        log.warning("door.batch_taken_apart", error=type(error).__name__, commands=len(commands))
        return [_decided(many, [command])[0] for command in commands]


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
