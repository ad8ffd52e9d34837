"""What all routes of this door share: who may call, what is read, how it is answered, once per idempotency key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import msgspec
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.views import APIView
from structlog.contextvars import bind_contextvars

from common.errors import MethodNotAllowed, NotFound
from common.ids import Prefix, decode_id
from common.pagination import paginate, parse_limit
from common.requests import idempotency_key_from, request_id_from
from tenants.models import ApiKey, Tenant
from tenants.services.idempotency import Answer, fingerprint, run_once
from tenants.services.key_use import saw_key
from vendor_api.authentication import Caller, authenticate_caller
from vendor_api.filters.base import PAGE_PARAMETERS
from vendor_api.operations import Operation
from vendor_api.problems import refusal
from vendor_api.reading import checked, read_object
from vendor_api.schema import VendorSchema
from vendor_api.serializers.base import Body, Shape, show, show_all


class VendorView(APIView):
    """A route. Subclasses declare `operations` by method, and a handler for each that neither decodes nor decides.

    Handlers find the caller in `self.caller` and the checked fields in `self.body`.
    """

    schema = VendorSchema()
    authentication_classes = ()
    permission_classes = ()
    parser_classes = (JSONParser,)
    renderer_classes = (JSONRenderer,)

    operations: ClassVar[Mapping[str, Operation]] = {}

    caller: Caller
    body: Any
    operation: Operation

    @property
    def tenant(self) -> Tenant:
        """The caller's workspace."""
        return self.caller.tenant

    def dispatch(self, request: HttpRequest, *_args: Any, **kwargs: Any) -> HttpResponseBase:
        """Authenticate, check the scope, read the body, call the handler; what is raised becomes a problem document."""
        request_id = request_id_from(request.META.get("HTTP_X_REQUEST_ID"))
        self.request, self.kwargs = request, kwargs  # type: ignore[assignment]
        try:
            response = self._respond(request, kwargs)
        except Exception as exc:  # noqa: BLE001 (the one place where all of them are told)
            response = refusal(exc, request_id)
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Request-Id"] = request_id
        return response

    # --- what handlers use ---------------------------------------------------------------------------------------

    def read(self, request: HttpRequest, body: type[Body], /) -> Callable[[], Any]:
        """Read the body now (400, 413, 415), and check its fields when called (422)."""
        sent = read_object(request, body)
        return lambda: checked(body, sent, changes=self.operation.changes)

    def who(self) -> dict[str, Any]:
        """The arguments that every service takes."""
        return {"tenant": self.caller.tenant, "actor": self.caller.actor}

    @property
    def query(self) -> QueryDict:
        """The query string."""
        query: QueryDict = self.request.GET
        return query

    def now(self) -> datetime:
        """The workspace's time."""
        return self.caller.clock.now()

    def answer(self, data: Any) -> HttpResponse:
        """The operation's answer, with its status."""
        return HttpResponse(msgspec.json.encode(data), status=self.operation.status, content_type="application/json")

    def show(self, instance: Any, shape: type[Shape] | None = None) -> HttpResponse:
        """An object in the operation's shape."""
        return self.answer(show(shape or self.operation.shape, instance, at=self.now()))

    def page(self, queryset: QuerySet[Any], *, time_field: str = "created_at") -> HttpResponse:
        """A page of the rows that the query string asks for, newest first."""
        limit, cursor = parse_limit(self.query.get("limit")), self.query.get("cursor")
        rows = self.operation.filters(self.query, queryset, at=self.now()).apply()
        found = paginate(rows, limit=limit, cursor=cursor, time_field=time_field, bound_to=self._list_name())
        data = show_all(self.operation.shape, found.items, at=self.now(), **self.beside(found.items))
        return self.answer({"data": data, "next_cursor": found.next_cursor})

    def beside(self, _rows: Sequence[Any]) -> dict[str, Any]:
        """What the shape of these rows finds in its context, read for all of them at once."""
        return {}

    def _list_name(self) -> str:
        """The list and its filters, in whatever order they were sent."""
        filters = sorted((name, values) for name, values in self.query.lists() if name not in PAGE_PARAMETERS)
        return repr((self.tenant.id.hex, self.request.path, filters))

    def gone(self) -> HttpResponse:
        """204: it is archived."""
        return HttpResponse(status=204)

    def find(self, queryset: QuerySet[Any], prefix: Prefix, text: str) -> Any:
        """The row of this public id. Raises NotFound, the same for malformed, foreign and absent ids."""
        try:
            found = queryset.filter(pk=decode_id(prefix, text)).first()
        except ValueError:
            found = None
        if found is None:
            raise NotFound
        return found

    # --- how a request goes --------------------------------------------------------------------------------------

    def _respond(self, request: HttpRequest, kwargs: dict[str, Any]) -> HttpResponse:
        self.caller = authenticate_caller(request)
        saw_key(ApiKey, self.caller.key.id)
        bind_contextvars(tenant_id=self.tenant.public_id, api_key_id=self.caller.key.public_id)
        method = "GET" if request.method == "HEAD" else request.method or ""
        operation = self.operations.get(method)
        if operation is None:
            if not self.operations:
                raise NotFound
            raise MethodNotAllowed(f"{method} is not known here.", allowed=self.operations)
        self.operation = operation
        if operation.scope is not None:
            self.caller.require(operation.scope)
        if not all(text.isprintable() for text in kwargs.values()):
            raise NotFound  # NUL and its like name nothing, and the database would not even look
        handler: Callable[..., HttpResponse] = getattr(self, method.lower())
        if operation.body is None:
            return handler(**kwargs)
        check = self.read(request, operation.body)

        def handle() -> HttpResponse:
            self.body = check()
            return handler(**kwargs)

        return self._handle_post(request, handle) if method == "POST" else handle()

    def _handle_post(self, request: HttpRequest, handle: Callable[[], HttpResponse]) -> HttpResponse:
        key = idempotency_key_from(request.META.get("HTTP_IDEMPOTENCY_KEY"))
        return handle() if key is None else self.once(key, request.body, handle)

    def once(self, key: str, body: bytes, handle: Callable[[], HttpResponse]) -> HttpResponse:
        """The answer of `handle`, or of an earlier call with this idempotency key; `body` is what was sent."""
        request = self.request
        request_id = self.caller.actor.request_id

        def produce() -> Answer:
            try:
                response = handle()
            except Exception as exc:  # noqa: BLE001 (a refusal is an answer, and is remembered as one)
                response = refusal(exc, request_id)
            return Answer(status=response.status_code, headers=dict(response.headers), body=response.content)

        outcome = run_once(
            tenant_id=self.tenant.id,
            caller=self.caller.key.public_id,
            key=key,
            fingerprint=fingerprint(method="POST", path=request.get_full_path(), body=body),
            produce=produce,
        )
        kept = outcome.answer
        response = HttpResponse(kept.body, status=kept.status, headers=kept.headers)
        if outcome.replayed:
            response.headers["Idempotency-Replayed"] = "true"
        return response
