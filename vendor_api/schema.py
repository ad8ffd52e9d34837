"""The OpenAPI of this door, read off each view's operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, PolymorphicProxySerializer
from rest_framework import serializers

from common.pagination import DEFAULT_LIMIT, MAX_LIMIT
from common.problems import PROBLEM_JSON
from vendor_api.filters import base as filters
from vendor_api.operations import Operation
from vendor_api.refusals import refusal_examples
from vendor_api.serializers.base import Shape
from vendor_api.serializers.bulk import items_of

SECURITY_SCHEME: Final = "secretKey"
SECURITY_SCHEMES: Final = {
    SECURITY_SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "description": "A secret key (`pm_sk_…`, in a test workspace `pm_test_sk_…`) with the operation's scope.",
    }
}

REFUSALS: Final = {
    400: "The body is no JSON, or a header field is malformed.",
    401: "No valid key: missing, unknown, expired and revoked keys get the same answer.",
    403: "The key is of another kind, for other networks, lacks the scope, or its workspace is suspended: see `code`.",
    404: "There is no such thing here; other workspaces' things are answered alike.",
    409: "The state forbids it, or the first call with this idempotency key is still running; `code` says which.",
    413: "The body is over 1 MiB.",
    415: "The body is not of the kind that this operation reads, in UTF-8.",
    422: "Fields or parameters do not hold; `errors` names each.",
    503: "A store cannot be reached and nothing was done, or (`revocation_pending`) it is done but not yet everywhere.",
}


class FieldErrorShape(Shape):
    """What is wrong with one field."""

    field = serializers.CharField(help_text="Its path, such as `quotas.0.limit`.")
    code = serializers.CharField()
    detail = serializers.CharField()


class ProblemShape(Shape):
    """A problem document (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField(help_text="Stable, lower snake case.")
    request_id = serializers.CharField()
    errors = FieldErrorShape(many=True)  # type: ignore[assignment]


class VendorSchema(AutoSchema):
    """Reads an operation instead of guessing from querysets and serializers."""

    @property
    def operation(self) -> Operation:
        """What the view says of the method that is described."""
        return self._operations[self.method]

    @property
    def _operations(self) -> Mapping[str, Operation]:
        operations: Mapping[str, Operation] = getattr(self.view, "operations", {})
        return operations

    def is_excluded(self) -> bool:
        return self.method not in self._operations

    def get_operation_id(self) -> str:
        return self.operation.name

    def get_summary(self) -> str:
        return self.operation.summary

    def get_description(self) -> str:  # type: ignore[override]
        scope = self.operation.scope
        words = [self.operation.description, f"Scope: `{scope}`." if scope else ""]
        return "\n\n".join(word for word in words if word)

    def get_tags(self) -> list[str]:
        return [self.operation.tag]

    def get_auth(self) -> list[dict[str, list[str]]]:
        scope = self.operation.scope
        return [{SECURITY_SCHEME: [str(scope)] if scope else []}]

    def get_filter_backends(self) -> list[Any]:
        return []

    def get_request_serializer(self) -> Any:
        body, operation = self.operation.body, self.operation
        if operation.uploads:
            return dict.fromkeys(operation.uploads, OpenApiTypes.STR)
        if body is None or operation.bulk is None:
            return body
        return PolymorphicProxySerializer(
            component_name=f"{body.__name__}OrItems", serializers=[body, items_of(body)], resource_type_field_name=None
        )

    def get_examples(self) -> list[OpenApiExample]:
        operation = self.operation
        examples = []
        if operation.example is not None:
            examples.append(OpenApiExample("As sent", value=operation.example, request_only=True))
        for media_type, text in operation.uploads.items():
            examples.append(OpenApiExample("As sent", value=text, request_only=True, media_type=media_type))
        return examples

    def get_response_serializers(self) -> Any:
        operation = self.operation
        answer: Any = operation.answer
        if operation.paged and answer is not None:
            answer = _page_of(answer)
        if operation.otherwise is not None:
            answer = PolymorphicProxySerializer(
                component_name=f"{operation.answer.__name__}OrOther" if operation.answer else "",
                serializers=[answer, operation.otherwise],
                resource_type_field_name=None,
            )
        if operation.status == 204:
            answers: dict[Any, Any] = {204: OpenApiResponse(description="It is done.")}
        elif operation.media_type != "application/json":
            answers = {(operation.status, operation.media_type): OpenApiResponse(str)}
        else:
            answers = {operation.status: OpenApiResponse(answer, description=operation.answer_description)}
        for media_type in operation.other_media_types:
            answers[operation.status, media_type] = OpenApiResponse(str)
        if operation.accepted:
            answers[202] = OpenApiResponse(answer, description=operation.accepted)
        if operation.bulk is not None:
            answers[200] = OpenApiResponse(operation.bulk, description="What became of each item.")
        for status, by_code in refusal_examples(operation, self.method).items():
            examples = [OpenApiExample(code, value=value, response_only=True) for code, value in by_code.items()]
            answers[status, PROBLEM_JSON] = OpenApiResponse(
                ProblemShape, description=REFUSALS[status], examples=examples
            )
        return answers

    def get_override_parameters(self) -> list[Any]:
        parameters = [
            OpenApiParameter(name, str, OpenApiParameter.PATH, description=_path_words(name), required=True)
            for name in _path_names(self.path)
        ]
        if self.operation.query is not None:
            parameters += [_query_parameter(name, found) for name, found in self.operation.query.base_filters.items()]
            if self.operation.query.has_metadata:
                parameters.append(_metadata_parameter())
            if self.operation.query.has_dimensions:
                parameters.append(_dimensions_parameter())
        if self.operation.paged:
            parameters += _page_parameters()
        if self.method == "POST" and self.operation.once:
            parameters += [_idempotency_parameter(), _replayed_header([self.operation.status])]
        return parameters


def _page_of(shape: type[Shape]) -> type[Shape]:
    """The envelope of a list."""
    fields = {
        "data": shape(many=True),
        "next_cursor": serializers.CharField(allow_null=True, help_text="Of the page after this one; null: none."),
        "__doc__": f"A page of {shape.__name__}, newest first.",
    }
    return type(f"{shape.__name__}Page", (Shape,), fields)


def _path_names(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _path_words(name: str) -> str:
    return "The id." if name == "id" else f"The {name}'s id."


def _query_parameter(name: str, found: Any) -> OpenApiParameter:
    schema: Any = str
    enum = None
    match found:
        case filters.SwitchFilter():
            schema = bool
        case filters.NumberFilter():
            schema = {"type": "integer", "minimum": 1}
        case filters.TimeFilter():
            schema = {"type": "string", "format": "date-time"}
        case filters.WordFilter():
            enum = [value for value, _ in found.extra["choices"]]
    return OpenApiParameter(
        name,
        schema,
        OpenApiParameter.QUERY,
        description=found.extra.get("help_text", ""),
        enum=enum,
        required=found.extra.get("required", False),
    )


def _metadata_parameter() -> OpenApiParameter:
    return OpenApiParameter(
        "metadata",
        {"type": "object", "additionalProperties": {"type": "string"}},
        OpenApiParameter.QUERY,
        style="deepObject",
        explode=True,
        description="`metadata[team]=search`: only what has this value under this key.",
    )


def _dimensions_parameter() -> OpenApiParameter:
    return OpenApiParameter(
        "filter",
        {"type": "object", "additionalProperties": {"type": "string"}},
        OpenApiParameter.QUERY,
        style="deepObject",
        explode=True,
        description="`filter[model]=large`: only events with this value of this dimension.",
    )


def _page_parameters() -> list[OpenApiParameter]:
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
    return [
        OpenApiParameter("limit", limit, OpenApiParameter.QUERY, description="How many at most."),
        OpenApiParameter("cursor", str, OpenApiParameter.QUERY, description="`next_cursor` of the page before."),
    ]


def _idempotency_parameter() -> OpenApiParameter:
    return OpenApiParameter(
        "Idempotency-Key",
        {"type": "string", "minLength": 1, "maxLength": 255},
        OpenApiParameter.HEADER,
        description="Makes a repetition safe: the same key and body replay the first answer for 24 hours.",
    )


def _replayed_header(statuses: list[int]) -> OpenApiParameter:
    return OpenApiParameter(
        "Idempotency-Replayed",
        {"type": "string", "const": "true"},
        OpenApiParameter.HEADER,
        description="The answer is one that was given before.",
        response=statuses,
    )
