"""POSTs with an Idempotency-Key at this door: done once, and the first answer is given again, be it a refusal."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from agent_api.use_cases.answering import Answer
from agent_api.use_cases.callers import KnownCaller
from common.errors import Conflict, Forbidden, Invalid, NotFound, Problem
from common.ids import Prefix, encode_id
from tenants.services import idempotency

B = TypeVar("B", bound=Struct)

_REPLAYED: Final = "Idempotency-Replayed"
#: Refusals that are kept; the next try may not meet the others again.
_KEPT: Final[Mapping[int, type[Problem]]] = {403: Forbidden, 404: NotFound, 409: Conflict, 422: Invalid}


def answer_once(
    known: KnownCaller,
    *,
    key: str | None,
    path: str,
    raw: bytes,
    fields: Mapping[str, str],
    answer: type[B],
    work: Callable[[], tuple[int, B]],
) -> Answer[B]:
    """The status and body that `work` makes, with `fields`; what it raises is kept and raised again, too.

    Without a `key` nothing is kept. Raises what `work` raises, Conflict `idempotency_in_progress`, Invalid
    `idempotency_key_reused`.
    """
    if key is None:
        status, body = work()
        return Answer(body, fields, status=status)
    produced: list[B] = []
    refused: list[Problem] = []

    def produce() -> idempotency.Answer:
        try:
            status, body = work()
        except Problem as problem:
            if problem.status not in _KEPT:
                raise
            refused.append(problem)
            return idempotency.Answer(problem.status, {}, msgspec.json.encode(_kept(problem)))
        produced.append(body)
        return idempotency.Answer(status, {}, msgspec.json.encode(body))

    access = known.access
    caller = access.facts.license.id if access.agent_id is None else access.agent_id
    outcome = idempotency.run_once(
        tenant_id=access.tenant_id,
        caller=encode_id(Prefix.LICENSE if access.agent_id is None else Prefix.AGENT, caller),
        key=key,
        fingerprint=idempotency.fingerprint(method="POST", path=path, body=raw),
        produce=produce,
    )
    if refused:
        raise refused[0]
    if produced:
        return Answer(produced[0], fields, status=outcome.answer.status)
    fields = {**fields, _REPLAYED: "true"}
    if outcome.answer.status in _KEPT:
        raise _again(outcome.answer, fields)
    return Answer(msgspec.json.decode(outcome.answer.body, type=answer), fields, status=outcome.answer.status)


def is_replayed(problem: Problem) -> bool:
    """Whether a refusal was kept from an earlier call."""
    return _REPLAYED in problem.headers


def _kept(problem: Problem) -> dict[str, Any]:
    return {"code": problem.code, "detail": problem.detail, "errors": problem.errors, "extra": problem.extra}


def _again(answer: idempotency.Answer, fields: Mapping[str, str]) -> Problem:
    kept: dict[str, Any] = msgspec.json.decode(answer.body)
    return _KEPT[answer.status](**kept, headers=fields)
