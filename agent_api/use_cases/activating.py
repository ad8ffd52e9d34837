"""`activations`: take a place of the licence for a machine or a copy of the agent, keep it, give it back."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

from agent_api.use_cases.activated import check_names
from agent_api.use_cases.answering import Answer
from agent_api.use_cases.callers import Admission, Ask, Credentials, KnownCaller, admit_many
from agent_api.use_cases.holding import rate_fields_on_problems
from agent_api.use_cases.once import answer_once, is_replayed
from agent_api.wire.activations import ActivationAnswer, ActivationRequest
from agent_api.wire.answers import Nothing
from agent_api.wire.shapes import public_id
from common.errors import Forbidden, Invalid, NotFound, Problem
from common.ids import Prefix, decode_id, encode_id
from licenses.domain.decision import decide_license
from licenses.services import activations
from licenses.services.activations import Holder
from tenants.domain.actors import Actor
from tenants.domain.enums import ActorKind

_LIMIT_REACHED = "activation_limit_reached"


class Activation(Protocol):
    """What a service gives back."""

    @property
    def id(self) -> UUID: ...
    @property
    def fingerprint(self) -> str | None: ...
    @property
    def instance(self) -> str | None: ...
    @property
    def label(self) -> str: ...
    @property
    def expires_at(self) -> datetime | None: ...


@dataclass(frozen=True, slots=True)
class ActivationCommand:
    """Somebody activates, or acts on the activation with this (public) id; `path` and `raw` as they came."""

    credentials: Credentials
    request_id: str = ""
    activation: str = ""
    path: str = ""
    raw: bytes = b""
    idempotency_key: str | None = None


def activate(command: ActivationCommand, asked: ActivationRequest) -> Answer[ActivationAnswer]:
    """Take a place; 201 for a new activation, 200 for the one that stands for this name already.

    Only while the licence holds. Raises Invalid, Forbidden with the code of what stands against it, or
    `activation_limit_reached` with `limit` and `current`.
    """

    def work(known: KnownCaller, actor: Actor) -> tuple[int, Activation]:
        _require_license(known)
        holder = _holder(known)
        made = activations.activate(
            holder=holder,
            actor=actor,
            fingerprint=asked.fingerprint,
            instance=asked.instance,
            label=asked.label or "",
        )
        return (201 if made.created else 200), made.activation

    return _once(command, work, lambda known: check_names(known, asked.fingerprint, asked.instance))


def heartbeat(command: ActivationCommand) -> Answer[ActivationAnswer]:
    """Let the lease begin anew. One that has lapsed needs a free place and a licence that holds.

    Raises NotFound, Conflict `activation_released`, Forbidden.
    """

    def work(known: KnownCaller, actor: Actor) -> tuple[int, Activation]:
        beaten = activations.heartbeat(
            holder=_holder(known),
            activation_id=_id(command.activation),
            actor=actor,
            lease=known.access.facts.activation_lease,
            check_revival=lambda: _require_license(known),
        )
        return 200, beaten

    return _once(command, work)


def give_up(command: ActivationCommand) -> Answer[Nothing]:
    """Give the place back, at once; twice is the same as once. Raises NotFound."""
    admission = _admit(command)
    with rate_fields_on_problems(admission):
        activations.give_up(
            holder=_holder(admission.known),
            activation_id=_id(command.activation),
            actor=_actor(admission.known, command),
        )
    return Answer(Nothing(), admission.fields, status=204)


def _admit(command: ActivationCommand, check: Callable[[KnownCaller], Problem | None] | None = None) -> Admission[None]:
    def plan(known: KnownCaller) -> Problem | None:
        if command.credentials.license_key is not None and known.access.agent_path:
            return Invalid.field("license_key", "not_with_this_key", "An agent's key stands for its license already.")
        return check(known) if check is not None else None

    [admission] = admit_many([Ask(command.credentials, plan, publishable=True)])
    if isinstance(admission, Problem):
        raise admission
    return admission


def _once(
    command: ActivationCommand,
    work: Callable[[KnownCaller, Actor], tuple[int, Activation]],
    check: Callable[[KnownCaller], Problem | None] | None = None,
) -> Answer[ActivationAnswer]:
    """Do it, once for each idempotency key; its refusals are kept, too."""
    admission = _admit(command, check)
    known, actor = admission.known, _actor(admission.known, command)

    def make() -> tuple[int, ActivationAnswer]:
        status, activation = work(known, actor)
        return status, _body(activation)

    with rate_fields_on_problems(admission):
        try:
            return answer_once(
                known,
                key=command.idempotency_key,
                path=command.path,
                raw=command.raw,
                fields=admission.fields,
                answer=ActivationAnswer,
                work=make,
            )
        except Forbidden as refusal:
            if not is_replayed(refusal):
                _note_full(known, refusal, actor)
            raise


def _note_full(known: KnownCaller, refusal: Forbidden, actor: Actor) -> None:
    """The refused call's own transaction was undone, and with it what it would have told."""
    if refusal.code == _LIMIT_REACHED:
        limit, current = refusal.extra["limit"], refusal.extra["current"]
        activations.note_limit_reached(holder=_holder(known), limit=limit, current=current, actor=actor)


def _require_license(known: KnownCaller) -> None:
    """What stands against the licence stands against taking a place; that none is held yet does not."""
    access = known.access
    decision = decide_license(replace(access.facts, activation_required=False), at=access.clock.now())
    if not decision.valid:
        reason = next(reason for reason in decision.reasons if reason.blocks)
        raise Forbidden(decision.code.value, reason.message)


def _holder(known: KnownCaller) -> Holder:
    access = known.access
    return Holder(access.tenant_id, access.facts.license.id, access.agent_id, access.clock)


def _actor(known: KnownCaller, command: ActivationCommand) -> Actor:
    agent = known.access.facts.agent
    where = {"address": command.credentials.address, "request_id": command.request_id}
    if agent is not None:
        return Actor(kind=ActorKind.AGENT, id=public_id(Prefix.AGENT, agent.id), name=agent.name, **where)
    key_id = known.access.key_id
    return Actor(kind=ActorKind.API_KEY, id=encode_id(Prefix.API_KEY, key_id) if key_id else "", **where)


def _body(activation: Activation) -> ActivationAnswer:
    return ActivationAnswer(
        id=encode_id(Prefix.ACTIVATION, activation.id),
        fingerprint=activation.fingerprint,
        instance=activation.instance,
        label=activation.label,
        expires_at=activation.expires_at,
    )


def _id(text: str) -> UUID:
    try:
        return decode_id(Prefix.ACTIVATION, text)
    except ValueError:
        raise NotFound("There is no such activation.") from None
