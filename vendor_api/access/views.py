"""The routes of AuthZEN under `/access/v1`, and the page that says where they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from common.errors import BadRequest, Invalid
from tenants.domain.scopes import Scope
from vendor_api.access.deciding import Verdict, evaluate, evaluate_all
from vendor_api.access.shapes import (
    EVALUATION_EXAMPLE,
    EVALUATIONS_EXAMPLE,
    EvaluationBody,
    EvaluationsBody,
    EvaluationShape,
    EvaluationsShape,
)
from vendor_api.operations import Operation
from vendor_api.reading import read_object
from vendor_api.serializers.base import Body
from vendor_api.views.base import VendorView

_DESCRIPTION = (
    "OpenID AuthZEN Authorization API 1.0. The subject is an agent or a licence, action and resource are mapped to "
    "features of the licence; the decision is that of the agents' door, and never older than the call. A denial is a "
    "200 with its reasons in `context`. What is wrong with the request is a 400, as the standard has it, and "
    "`Idempotency-Key` is not looked at: a decision is never replayed. Where the endpoints are stands in "
    "`/.well-known/authzen-configuration`."
)


class AccessView(VendorView):
    """A route that only asks."""

    def read(self, request: HttpRequest, body: type[Body], /) -> Callable[[], Any]:
        """The body as it was sent; the use case finds fault with it."""
        try:
            sent = read_object(request, body)
        except Invalid as error:
            raise BadRequest("invalid", error.detail, errors=error.errors) from error
        return lambda: sent

    def _handle_post(self, _request: HttpRequest, handle: Callable[[], HttpResponse]) -> HttpResponse:
        return handle()  # a decision of yesterday would be a stale one


class EvaluationView(AccessView):
    """/access/v1/evaluation"""

    operations: ClassVar = {
        "POST": Operation(
            name="evaluate_access",
            summary="Ask whether something is allowed",
            description=_DESCRIPTION,
            tag="Decisions",
            scope=Scope.DECISIONS_READ,
            body=EvaluationBody,
            answer=EvaluationShape,
            example=EVALUATION_EXAMPLE,
            once=False,
        )
    }

    def post(self) -> HttpResponse:
        return self.answer(_shown(evaluate(self.tenant.id, self.body)))


class EvaluationsView(AccessView):
    """/access/v1/evaluations"""

    operations: ClassVar = {
        "POST": Operation(
            name="evaluate_access_batch",
            summary="Ask whether many things are allowed",
            description="Evaluations take what they leave out from the top. `options.evaluations_semantic` ends the "
            "batch with its first denial or its first permit. What is wrong with one evaluation is a denial of its own "
            "with `context.error`. Without `evaluations` it is one question, answered as by `/evaluation`.",
            tag="Decisions",
            scope=Scope.DECISIONS_READ,
            body=EvaluationsBody,
            answer=EvaluationsShape,
            otherwise=EvaluationShape,
            example=EVALUATIONS_EXAMPLE,
            once=False,
        )
    }

    def post(self) -> HttpResponse:
        found = evaluate_all(self.tenant.id, self.body)
        if isinstance(found, Verdict):
            return self.answer(_shown(found))
        return self.answer({"evaluations": [_shown(each) for each in found]})


@require_safe
def configuration(_request: HttpRequest) -> HttpResponse:
    """/.well-known/authzen-configuration: where a gateway asks (AuthZEN 1.0, policy decision point metadata)."""
    base = settings.BASE_URL.rstrip("/")
    response = JsonResponse(
        {
            "policy_decision_point": base,
            "access_evaluation_endpoint": f"{base}/access/v1/evaluation",
            "access_evaluations_endpoint": f"{base}/access/v1/evaluations",
        }
    )
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


def _shown(verdict: Verdict) -> Mapping[str, Any]:
    return {"decision": verdict.decision, "context": verdict.context}
