"""Evaluations: the licence decision of the agents' door, asked by a gateway about an agent or a licence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from common.errors import BadRequest, FieldError
from common.ids import Prefix, encode_id
from licenses.domain.decision import Reason, decide_license
from licenses.domain.facts import ActivationFacts
from licenses.selectors.access import AccessSnapshot
from licenses.selectors.activations import AskedActivation, find_activations
from vendor_api.access.questions import SUBJECTS, Question, asked_of, read_question
from vendor_api.access.subjects import SubjectKey, snapshots_of
from vendor_api.serializers.fields import format_time
from vendor_api.validating import shown_reason

MAX_EVALUATIONS: Final = 1000

#: Members of a request that stand in for those that an evaluation leaves out.
_DEFAULTS: Final = ("subject", "action", "resource", "context")


class Semantic(StrEnum):
    """When a batch ends: with its last evaluation, with the first denial, with the first permit."""

    EXECUTE_ALL = "execute_all"
    DENY_ON_FIRST_DENY = "deny_on_first_deny"
    PERMIT_ON_FIRST_PERMIT = "permit_on_first_permit"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision, and what is to be said of it."""

    decision: bool
    context: Mapping[str, Any] = field(default_factory=dict)


def evaluate(tenant_id: UUID, sent: Mapping[str, Any]) -> Verdict:
    """The decision about one evaluation. Raises BadRequest for one that is none."""
    question = read_question(sent)
    if isinstance(question, list):
        raise _bad(question)
    [verdict] = _decide(tenant_id, [question])
    return verdict


def evaluate_all(tenant_id: UUID, sent: Mapping[str, Any]) -> Verdict | list[Verdict]:
    """The decisions about a batch, in order and as far as its semantic goes; about one evaluation if it has none.

    What is wrong with one evaluation is a denial of its own; what is wrong with the batch raises BadRequest.
    """
    evaluations = sent.get("evaluations")
    semantic = _semantic(sent)
    if evaluations is None or evaluations == []:
        return evaluate(tenant_id, sent)
    if not isinstance(evaluations, list):
        raise _bad([FieldError(field="evaluations", code="wrong_type", detail="Expected a list.")])
    if len(evaluations) > MAX_EVALUATIONS:
        detail = f"At most {MAX_EVALUATIONS} evaluations at once."
        raise _bad([FieldError(field="evaluations", code="too_many", detail=detail)])
    defaults = {name: sent[name] for name in _DEFAULTS if name in sent}
    read = [_read(defaults, each) for each in evaluations]
    decided = iter(_decide(tenant_id, [each for each in read if isinstance(each, Question)]))
    verdicts: list[Verdict] = []
    for each in read:
        verdicts.append(next(decided) if isinstance(each, Question) else _faulty(each))
        if semantic is Semantic.DENY_ON_FIRST_DENY and not verdicts[-1].decision:
            break
        if semantic is Semantic.PERMIT_ON_FIRST_PERMIT and verdicts[-1].decision:
            break
    return verdicts


def _read(defaults: Mapping[str, Any], evaluation: Any) -> Question | list[FieldError]:
    if not isinstance(evaluation, dict):
        return [FieldError(field="", code="wrong_type", detail="Expected an object.")]
    return read_question({**defaults, **evaluation})


def _semantic(sent: Mapping[str, Any]) -> Semantic:
    options = sent.get("options")
    if options is None:
        return Semantic.EXECUTE_ALL
    if not isinstance(options, dict):
        raise _bad([FieldError(field="options", code="wrong_type", detail="Expected an object.")])
    name = options.get("evaluations_semantic", Semantic.EXECUTE_ALL)
    if not isinstance(name, str) or name not in list(Semantic):
        detail = f"Expected one of: {', '.join(Semantic)}."
        raise _bad([FieldError(field="options.evaluations_semantic", code="invalid_choice", detail=detail)])
    return Semantic(name)


def _decide(tenant_id: UUID, questions: Sequence[Question]) -> list[Verdict]:
    keys = {
        SubjectKey(tenant_id, question.subject_type, question.subject_id)
        for question in questions
        if question.subject_id is not None
    }
    snapshots = snapshots_of(keys)
    found: list[tuple[Question, AccessSnapshot | None]] = []
    for question in questions:
        subject_id = question.subject_id
        key = None if subject_id is None else SubjectKey(tenant_id, question.subject_type, subject_id)
        found.append((question, None if key is None else snapshots[key]))
    return [
        _unknown_subject(question) if access is None else _verdict(question, access, activation)
        for (question, access), activation in zip(found, _activations(found), strict=True)
    ]


def _activations(found: Sequence[tuple[Question, AccessSnapshot | None]]) -> list[ActivationFacts | None]:
    """The activation that stands for each question's machine or copy, read now, in one query or none."""
    asked = {
        place: AskedActivation(
            access.tenant_id, access.facts.license.id, access.agent_id, question.fingerprint, question.instance
        )
        for place, (question, access) in enumerate(found)
        if access is not None
        and access.facts.has_activations
        and (question.fingerprint is not None or question.instance is not None)
    }
    standing = dict(zip(asked, find_activations(list(asked.values())), strict=True))
    return [standing.get(place) for place in range(len(found))]


def _verdict(question: Question, access: AccessSnapshot, activation: ActivationFacts | None) -> Verdict:
    asked = asked_of(question, access.facts)
    decision = decide_license(
        access.facts,
        at=access.clock.now(),
        features=asked.features,
        feature_value=asked.feature_value,
        product=asked.product,
        fingerprint=question.fingerprint if question.instance is None else question.instance,
        activation=activation,
    )
    agent_id = access.agent_id
    return Verdict(
        decision.valid,
        {
            "code": decision.code.value,
            "reasons": [_reason(reason) for reason in decision.reasons],
            "license": encode_id(Prefix.LICENSE, access.facts.license.id),
            "agent": None if agent_id is None else encode_id(Prefix.AGENT, agent_id),
        },
    )


def _reason(reason: Reason) -> dict[str, Any]:
    shown = shown_reason(reason)
    details: dict[str, Any] = shown.pop("details")
    return {**shown, "until": None if reason.until is None else format_time(reason.until), **details}


def _unknown_subject(question: Question) -> Verdict:
    """Absent, foreign and malformed ids are told alike, as are kinds of subjects that nobody here has."""
    if question.subject_type in SUBJECTS:
        detail = f"There is no {question.subject_type} of this id here. Use the id of one of yours."
    else:
        detail = f"A subject is of type {' or '.join(SUBJECTS)}. Use the id of one of yours."
    return _refused({"code": "subject_unknown", "detail": detail})


def _faulty(errors: Sequence[FieldError]) -> Verdict:
    message = _sentence(errors)
    refused = _refused({"code": "invalid", "detail": message})
    return Verdict(False, {**refused.context, "error": {"status": 400, "message": message}, "errors": list(errors)})


def _refused(why: Mapping[str, str]) -> Verdict:
    code = why["code"]
    reason = {"code": code, "message": why["detail"], "blocks": True, "retryable": False, "until": None}
    return Verdict(False, {"code": code, "reasons": [reason], "license": None, "agent": None})


def _bad(errors: Sequence[FieldError]) -> BadRequest:
    """The standard knows 400 and no 422 for what is wrong with a request."""
    return BadRequest("invalid", _sentence(errors), errors=errors)


def _sentence(errors: Sequence[FieldError]) -> str:
    first = errors[0]
    return f"{first['field']}: {first['detail']}" if first["field"] else first["detail"]
