"""What every view of this door has in common: who calls, how bodies are read, how answers and refusals leave."""

from collections.abc import Callable, Collection
from typing import Any, ClassVar, TypeVar

from django.http import HttpRequest, HttpResponse
from msgspec import Struct
from rest_framework.views import APIView

from agent_api.operations import Operation
from agent_api.schema import AgentSchema
from agent_api.use_cases.answering import Answer
from agent_api.use_cases.callers import Credentials, check_caller
from agent_api.wire.answers import encode
from common.addresses import HasFields, client_address
from common.errors import FieldError, Invalid, MethodNotAllowed, Problem, Unauthorized
from common.http_json import JSON, check_content_type, read_body
from common.problems import exception_to_problem, problem_response
from common.requests import bearer_token_from, idempotency_key_from

_METHODS = ("get", "post", "delete")

B = TypeVar("B", bound=Struct)
T = TypeVar("T")


class AgentView(APIView):
    """A thin shell: `get` and `post` decode, call one use case and give its answer back.

    What DRF does before a handler (negotiation, authentication, throttling) is done by the use cases for whole
    batches, so that part of it is passed over.
    """

    schema = AgentSchema()
    operations: ClassVar[dict[str, Operation]] = {}

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Answer with bytes; whatever is raised becomes a problem document."""
        try:
            handler = self._handler(request)
            answer: Answer[Any] = handler(request, *args, **kwargs)
        except Exception as error:
            problem = exception_to_problem(error)
            if problem is None:
                raise
            return problem_response(problem, getattr(request, "request_id", ""))
        if answer.status == 204:
            return HttpResponse(status=204, headers=dict(answer.fields))
        return HttpResponse(encode(answer.body), content_type=JSON, status=answer.status, headers=dict(answer.fields))

    def _handler(self, request: HttpRequest) -> Callable[..., Answer[Any]]:
        name = str(request.method).lower()
        handler: Callable[..., Answer[Any]] | None = getattr(self, name, None) if name in _METHODS else None
        if handler is None:
            allowed = [method.upper() for method in _METHODS if hasattr(self, method)]
            raise MethodNotAllowed(f"This place knows {' and '.join(allowed)} only.", allowed=allowed)
        return handler


def credentials_of(request: HasFields) -> Credentials:
    """The key that was sent. Raises Unauthorized where there is none, or more than one."""
    token = bearer_token_from(request.META.get("HTTP_AUTHORIZATION"))
    if token is None:
        raise Unauthorized
    return Credentials(token, address=client_address(request), instance=request.META.get("HTTP_PERMETER_INSTANCE", ""))


def idempotency_key_of(request: HasFields) -> str | None:
    """The Idempotency-Key field. Raises BadRequest."""
    return idempotency_key_from(request.META.get("HTTP_IDEMPOTENCY_KEY"))


def body_of(request: HttpRequest) -> bytes:
    """The body, of a kind that is read here. Raises PayloadTooLarge, UnsupportedMediaType, BadRequest."""
    raw = read_body(request)
    check_content_type(request, raw)
    return raw


def parameters_of(request: HttpRequest, known: Collection[str], maps: Collection[str] = ()) -> dict[str, str]:
    """The query's parameters; those of `maps` are written `name[key]`.

    Raises Invalid for one that is not known here, or named twice.
    """
    errors: list[FieldError] = []
    for name, values in request.GET.lists():
        if name not in known and not any(name.startswith(f"{each}[") and name[-1] == "]" for each in maps):
            there_are = ", ".join([*sorted(known), *(f"{each}[…]" for each in maps)])
            detail = (
                f"This parameter is not known here, but {there_are}." if there_are else "There are no parameters here."
            )
            errors.append(FieldError(field=name, code="unknown_field", detail=detail))
        elif len(values) > 1:
            errors.append(FieldError(field=name, code="repeated", detail="This parameter is named twice."))
    if errors:
        raise Invalid(f"{errors[0]['field']}: {errors[0]['detail']}", errors=errors)
    return {name: value for name, value in request.GET.items() if isinstance(value, str)}


def read(credentials: Credentials, decode: Callable[[], T], *, publishable: bool = False) -> T:
    """What `decode` makes of the request.

    Where that fails, the key comes first all the same: a dead one is told so, and nothing of its body.
    """
    try:
        return decode()
    except Problem as problem:
        problem.headers |= check_caller(credentials, publishable=publishable)
        raise


def one(answers: list[Answer[B] | Problem]) -> Answer[B]:
    """The answer to a lone command. Raises its problem."""
    [answer] = answers
    if isinstance(answer, Problem):
        raise answer
    return answer
