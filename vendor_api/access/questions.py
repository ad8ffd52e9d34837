"""An evaluation of AuthZEN as a question about a licence: pure, without any I/O.

How `action` and `resource` name a feature stands in `docs/how-to/ask-from-a-gateway.md`; this is the one place where
it is decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from common.errors import FieldError
from common.ids import Prefix, decode_id
from common.text import TextError, check_text
from licenses.domain.enums import FeatureKind
from licenses.domain.facts import AccessFacts, AskedValue

#: What a subject can be, and how its id begins.
SUBJECTS: Final = {"agent": Prefix.AGENT, "license": Prefix.LICENSE}

MAX_TYPE: Final = 200
MAX_ID: Final = 1000
MAX_CHOICES: Final = 200
MAX_FINGERPRINT: Final = 256

_FEATURE: Final = "feature"
_PRODUCT: Final = "product"
_TOOL: Final = "tool"


@dataclass(frozen=True, slots=True)
class Question:
    """Whether a subject may do something with a resource. `subject_id` None: no subject of Permeter is meant."""

    subject_type: str
    subject_id: UUID | None
    resource_type: str
    resource_id: str
    feature: str | None = None
    value: AskedValue | None = None
    fingerprint: str | None = None
    instance: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the licence: a feature, perhaps a value of it, or the product."""

    features: tuple[str, ...] = ()
    feature_value: tuple[str, AskedValue] | None = None
    product: str | None = None


@dataclass(slots=True)
class _Faults:
    """What is wrong with an evaluation, by the path of the member."""

    found: list[FieldError]

    def add(self, field: str, code: str, detail: str) -> None:
        self.found.append(FieldError(field=field, code=code, detail=detail))

    def text(self, holder: Mapping[str, Any], name: str, path: str, *, most: int) -> str:
        """A member that has to be there and say something."""
        if name not in holder:
            self.add(f"{path}.{name}", "required", "This member is required.")
        elif not isinstance(holder[name], str):
            self.add(f"{path}.{name}", "wrong_type", "Expected a string.")
        elif not 0 < len(holder[name]) <= most:
            self.add(f"{path}.{name}", "invalid", f"Expected 1 to {most} characters.")
        else:
            return str(holder[name])
        return ""

    def part(self, holder: Mapping[str, Any], name: str, path: str, *, required: bool) -> Mapping[str, Any]:
        """A member that is an object; empty if it may be left out."""
        if holder.get(name) is None and (not required or name not in holder):
            if required:
                self.add(path, "required", "This member is required.")
            return {}
        if not isinstance(holder[name], dict):
            self.add(path, "wrong_type", "Expected an object.")
            return {}
        part: Mapping[str, Any] = holder[name]
        return part


def read_question(sent: Mapping[str, Any]) -> Question | list[FieldError]:
    """An evaluation, or what is wrong with it. Members that the standard does not know are let through."""
    faults = _Faults([])
    subject = faults.part(sent, "subject", "subject", required=True)
    action = faults.part(sent, "action", "action", required=True)
    resource = faults.part(sent, "resource", "resource", required=True)
    context = faults.part(sent, "context", "context", required=False)
    missing = {error["field"] for error in faults.found}
    subject_type = subject_id = resource_type = resource_id = ""
    properties: Mapping[str, Any] = {}
    of_action: Mapping[str, Any] = {}
    if "subject" not in missing:
        subject_type = faults.text(subject, "type", "subject", most=MAX_TYPE)
        subject_id = faults.text(subject, "id", "subject", most=MAX_ID)
        faults.part(subject, "properties", "subject.properties", required=False)
    if "action" not in missing:
        faults.text(action, "name", "action", most=MAX_TYPE)
        of_action = faults.part(action, "properties", "action.properties", required=False)
    if "resource" not in missing:
        resource_type = faults.text(resource, "type", "resource", most=MAX_TYPE)
        resource_id = faults.text(resource, "id", "resource", most=MAX_ID)
        properties = faults.part(resource, "properties", "resource.properties", required=False)
    feature = _optional_text(faults, properties, "feature", "resource.properties.feature")
    fingerprint = _optional_text(faults, context, "fingerprint", "context.fingerprint", most=MAX_FINGERPRINT)
    instance = _optional_text(faults, context, "instance", "context.instance", most=MAX_FINGERPRINT)
    if instance is not None and fingerprint is not None:
        faults.add("context.instance", "one_of", "An activation is for a machine or for a copy: send one of the two.")
    elif instance is not None and subject_type == "license":
        faults.add("context.instance", "only_for_agents", "Copies are told apart below an agent: ask about the agent.")
    value = _value(faults, properties.get("value"), "resource.properties.value")
    if value is None:
        value = _value(faults, of_action.get("value"), "action.properties.value")
    if faults.found:
        return faults.found
    return Question(
        subject_type=subject_type,
        subject_id=_subject_id(subject_type, subject_id),
        resource_type=resource_type,
        resource_id=resource_id,
        feature=feature,
        value=value,
        fingerprint=fingerprint,
        instance=instance,
    )


def asked_of(question: Question, facts: AccessFacts) -> Asked:
    """Which feature of the licence the resource stands for.

    `resource.properties.feature` names it; else the type does: `feature` means the id, `product` the product, and any
    other type the feature of that code or its plural, whose value is the id if it is a choice. A `tool` that no
    feature is about is itself the code of one.
    """
    if question.feature is None and question.resource_type == _PRODUCT:
        return Asked(product=question.resource_id)
    kinds = {grant.feature: grant.kind for grant in facts.grants}
    of_id = question.feature is None and question.resource_type == _FEATURE
    code = question.resource_id if of_id else _feature_of(question, kinds)
    value = question.value
    if value is None and not of_id and code != question.resource_id and kinds.get(code) == FeatureKind.CHOICE:
        value = question.resource_id
    return Asked(features=(code,), feature_value=None if value is None else (code, value))


def _feature_of(question: Question, kinds: Mapping[str, FeatureKind]) -> str:
    if question.feature is not None:
        return question.feature
    for code in (question.resource_type, f"{question.resource_type}s"):
        if code in kinds:
            return code
    return question.resource_id if question.resource_type == _TOOL else question.resource_type


def _subject_id(subject_type: str, text: str) -> UUID | None:
    prefix = SUBJECTS.get(subject_type)
    if prefix is None:
        return None
    try:
        return decode_id(prefix, text)
    except ValueError:
        return None


def _optional_text(
    faults: _Faults, holder: Mapping[str, Any], name: str, path: str, *, most: int = MAX_ID
) -> str | None:
    value = holder.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        faults.add(path, "wrong_type", "Expected a string that says something.")
        return None
    try:
        return check_text(value, max_length=most)
    except TextError as error:
        faults.add(path, error.code, error.detail)
        return None


def _value(faults: _Faults, value: Any, path: str) -> AskedValue | None:
    if value is None or isinstance(value, bool | int | Decimal | str):
        return value
    if isinstance(value, list) and len(value) <= MAX_CHOICES and all(isinstance(each, str) for each in value):
        return frozenset(value)
    faults.add(path, "wrong_type", "Expected true or false, a number, a string or a list of strings.")
    return None
