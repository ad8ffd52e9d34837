"""Evaluations as sent and as answered, for the document: bodies are read by `questions`, as the standard wants."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from vendor_api.access.deciding import MAX_EVALUATIONS, Semantic
from vendor_api.access.questions import MAX_ID, MAX_TYPE
from vendor_api.serializers.base import Body, Shape
from vendor_api.serializers.fields import MapField
from vendor_api.serializers.validation import ReasonShape


class SubjectBody(Body):
    """Whom it is about."""

    type = serializers.CharField(max_length=MAX_TYPE, help_text="`agent` or `license`.")
    id = serializers.CharField(max_length=MAX_ID, help_text="Its id, `agt_…` or `lic_…`.")
    properties = MapField(required=False)


class ActionBody(Body):
    """What is to be done; it does not change the decision."""

    name = serializers.CharField(max_length=MAX_TYPE)
    properties = MapField(required=False, help_text="`value`: the value that the feature shall be used with.")


class ResourceBody(Body):
    """What it is to be done with, mapped to a feature of the licence."""

    type = serializers.CharField(
        max_length=MAX_TYPE,
        help_text="`feature`, `product`, or the code of a feature or its singular, such as `model` for `models`.",
    )
    id = serializers.CharField(max_length=MAX_ID, help_text="The feature's or product's code, or the choice's value.")
    properties = MapField(
        required=False, help_text="`feature`: names the feature; `value`: the value that it shall be used with."
    )


class EvaluationBody(Body):
    """One question. Members that are not listed are let through."""

    subject = SubjectBody()
    action = ActionBody()
    resource = ResourceBody()
    context = MapField(  # type: ignore[assignment] # a serializer has something else of this name
        required=False,
        help_text="`fingerprint` of the machine or `instance` of the copy, where the plan demands activation.",
    )


class DefaultedEvaluationBody(Body):
    """One question of a batch; what it leaves out is taken from the top."""

    subject = SubjectBody(required=False)
    action = ActionBody(required=False)
    resource = ResourceBody(required=False)
    context = MapField(required=False)  # type: ignore[assignment]


class OptionsBody(Body):
    """How the batch is run."""

    evaluations_semantic = serializers.ChoiceField(choices=[each.value for each in Semantic], required=False)


class EvaluationsBody(DefaultedEvaluationBody):
    """Many questions; without `evaluations`, one."""

    evaluations = serializers.ListField(
        child=DefaultedEvaluationBody(), max_length=MAX_EVALUATIONS, required=False, allow_empty=True
    )
    options = OptionsBody(required=False)


class EvaluationErrorShape(Shape):
    """What is wrong with one evaluation of a batch."""

    status = serializers.IntegerField()
    message = serializers.CharField()


class EvaluationContextShape(Shape):
    """Why."""

    code = serializers.CharField(help_text="The weightiest blocking reason, else `grace_period`, else `valid`.")
    reasons = ReasonShape(many=True)
    license = serializers.CharField(allow_null=True)
    agent = serializers.CharField(allow_null=True)
    error = EvaluationErrorShape(required=False)
    # Named as in problem documents; a serializer has something else of this name.
    errors = serializers.ListField(child=MapField(), required=False)  # type: ignore[assignment]


class EvaluationShape(Shape):
    """A decision. A denial is a 200, too."""

    decision = serializers.BooleanField()
    context = EvaluationContextShape()  # type: ignore[assignment]


class EvaluationsShape(Shape):
    """Decisions in the order of the questions; where the semantic ends the batch early, those up to its end."""

    evaluations = EvaluationShape(many=True)


SUBJECT_EXAMPLE: dict[str, Any] = {"type": "agent", "id": "agt_01h455vb4pex5vsknk084sn02q"}
EVALUATION_EXAMPLE: dict[str, Any] = {
    "subject": SUBJECT_EXAMPLE,
    "action": {"name": "call"},
    "resource": {"type": "model", "id": "large"},
}
EVALUATIONS_EXAMPLE: dict[str, Any] = {
    "subject": SUBJECT_EXAMPLE,
    "action": {"name": "call"},
    "options": {"evaluations_semantic": "execute_all"},
    "evaluations": [
        {"resource": {"type": "model", "id": "large"}},
        {"resource": {"type": "feature", "id": "web_search"}},
    ],
}
