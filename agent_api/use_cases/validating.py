"""`validate`: is this licence good? Reads only, and keeps the question of the licence apart from that of the meter."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from agent_api.use_cases.activated import activation_body, check_names, standing_activations
from agent_api.use_cases.answering import Answer
from agent_api.use_cases.callers import Admission, Ask, Credentials, KnownCaller, admit_many
from agent_api.wire.answers import ValidateAnswer
from agent_api.wire.requests import ValidateRequest
from agent_api.wire.shapes import agent_body, license_body, quota_bodies, quota_warnings, reason_bodies
from common.errors import Invalid, Problem
from licenses.domain.decision import decide_license
from licenses.domain.facts import ActivationFacts
from licenses.domain.license_times import valid_until
from licenses.services.gate import note_refusal
from metering.selectors.quota_statuses import Asked, QuotaStatus, statuses_of


@dataclass(frozen=True, slots=True)
class ValidateCommand:
    """Somebody asks whether their licence holds for something."""

    credentials: Credentials
    asked: ValidateRequest


def validate_many(commands: Sequence[ValidateCommand]) -> list[Answer[ValidateAnswer] | Problem]:
    """An answer or a refusal for each command, in order: one flight to Valkey, at most one query.

    And one more where somebody names a machine or copy whose licence has activations.
    """
    asks = [Ask(command.credentials, partial(_plan, command), publishable=True) for command in commands]
    admitted = admit_many(asks)
    inside = [(place, found) for place, found in enumerate(admitted) if isinstance(found, Admission)]
    standing = statuses_of([found.plan for _, found in inside])
    activations = standing_activations(
        [(found.known, commands[place].asked.fingerprint, commands[place].asked.instance) for place, found in inside]
    )
    answers: list[Answer[ValidateAnswer] | Problem] = [
        found if isinstance(found, Problem) else Problem() for found in admitted
    ]
    for (place, admission), statuses, activation in zip(inside, standing, activations, strict=True):
        answers[place] = Answer(_answer(admission, commands[place].asked, statuses, activation), admission.fields)
    return answers


def _plan(command: ValidateCommand, known: KnownCaller) -> Asked | Problem:
    if command.credentials.license_key is not None and known.access.agent_path:
        return Invalid.field("license_key", "not_with_this_key", "An agent's key stands for its license already.")
    fault = check_names(known, command.asked.fingerprint, command.asked.instance)
    return Asked(known.quotas, known.access.clock.now()) if fault is None else fault


def _answer(
    admission: Admission[Asked],
    asked: ValidateRequest,
    statuses: Sequence[QuotaStatus],
    activation: ActivationFacts | None,
) -> ValidateAnswer:
    access, at = admission.known.access, admission.plan.at
    facts = access.facts
    decision = decide_license(
        facts,
        at=at,
        features=asked.features or (),
        product=asked.product,
        fingerprint=asked.fingerprint if asked.instance is None else asked.instance,
        activation=activation,
    )
    if not decision.valid and access.agent_id is not None:
        note_refusal(access.tenant_id, access.agent_id)
    term = admission.known.term(at)
    until = term.end
    if activation is not None and facts.activation_required:
        until = valid_until(facts, at, activation=activation)
    return ValidateAnswer(
        valid=decision.valid,
        code=decision.code.value,
        codes=reason_bodies(decision.reasons) + quota_warnings(statuses),
        license=license_body(facts, at),
        agent=agent_body(facts, at),
        features=term.features,
        quotas=quota_bodies(statuses),
        activation=activation_body(activation),
        valid_until=until,
        server_time=at,
        nonce=asked.nonce,
    )
