"""The OpenAPI of this door: operations as the views name them, schemas from the very types that are decoded."""

from typing import Any, Final

import msgspec
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent

from agent_api.operations import Example, Operation, Parameter
from common.problems import PROBLEM_JSON

SECURITY_SCHEME: Final = "agentKey"

_REF: Final = "#/components/schemas/{name}"
_EVERYWHERE: Final = frozenset({401, 403, 429, 503})
_REFUSALS: Final = {
    400: "The body is no JSON, or a header field is malformed.",
    401: "No living key: missing, unknown, expired and revoked keys, and keys of revoked agents, get the same answer.",
    403: "The key is of another kind than this call takes; `code` says so.",
    404: "There is no such thing here; what others own is answered alike.",
    409: "The id was used for something else, or the state forbids it; `code` says which.",
    413: "The body is over 1 MiB.",
    415: "The body is of a kind that is not read here.",
    422: "Fields or parameters do not hold; `errors` names each.",
    429: "A rate limit ran out; `level` says whose, `Retry-After` for how long.",
    503: "A store cannot be reached and nothing was done; or `outcome_unknown`: repeat with the `id` that it names.",
}
_RATE_FIELDS: Final = {
    "RateLimit-Policy": "The limits that hold for this caller, where any are set.",
    "RateLimit": "What is left of them.",
}
_IN_PATHS: Final = {"hold": "The hold's id.", "agent": "The agent's id.", "activation": "The activation's id."}
_INSTANCE: Final = Parameter(
    "Permeter-Instance",
    "Which copy of the agent this is: the vendor sees how many there are, when each called last, and how often.",
    schema={"type": "string", "maxLength": 128},
    place="header",
)
_PROBLEM: Final = {
    "type": "object",
    "description": "A problem document (RFC 9457).",
    "required": ["type", "title", "status", "detail", "code", "request_id", "errors"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable, lower snake case."},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "code", "detail"],
                "properties": {
                    "field": {"type": "string", "description": "Its path, such as `usage.0.meter`."},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
    "additionalProperties": True,
}


class AgentSchema(AutoSchema):
    """Reads the view's operations; nothing is guessed from serializers."""

    @property
    def _operations(self) -> dict[str, Operation]:
        view: Any = self.view
        found: dict[str, Operation] = view.operations
        return found

    def is_excluded(self) -> bool:
        return self.method not in self._operations

    def get_operation(self, path: str, path_regex: str, path_prefix: str, method: str, registry: Any) -> Any:
        """The operation object, its schemas registered as components."""
        self.path, self.path_regex, self.path_prefix = path, path_regex, path_prefix
        self.method, self.registry = method.upper(), registry
        if self.is_excluded():
            return None
        operation = self._operations[self.method]
        document: dict[str, Any] = {
            "operationId": operation.name,
            "summary": operation.summary,
            "description": operation.description,
            "tags": [operation.tag],
            "security": [{SECURITY_SCHEME: []}],
            "parameters": self._parameters_of(operation),
        }
        if operation.bodies:
            document["requestBody"] = self._body_of(operation)
        document["responses"] = self._answers_of(operation)
        return document

    def _parameters_of(self, operation: Operation) -> list[dict[str, Any]]:
        named = [
            Parameter(name, description, required=True, place="path")
            for name, description in _IN_PATHS.items()
            if f"{{{name}}}" in self.path
        ]
        return [
            {
                "name": parameter.name,
                "in": parameter.place,
                "required": parameter.required,
                "description": parameter.description,
                "schema": dict(parameter.schema),
            }
            for parameter in (*named, *operation.parameters, _INSTANCE)
        ]

    def _body_of(self, operation: Operation) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for place, (media_type, kind) in enumerate(operation.bodies.items()):
            content[media_type] = {"schema": self._schema(kind)}
            if place == 0 and operation.requests:
                content[media_type]["examples"] = _examples(operation.requests)
        return {"required": operation.body_required, "content": content}

    def _answers_of(self, operation: Operation) -> dict[str, Any]:
        done: dict[str, Any] = {"schema": self._schema(operation.answer)}
        if operation.answers:
            done["examples"] = _examples(operation.answers)
        answers: dict[str, Any] = {
            str(status): {"description": "Done; there is nothing to say."}
            if status == 204
            else {
                "description": (operation.answer.__doc__ or "").strip().partition("\n")[0],
                "headers": {
                    name: {"description": text, "schema": {"type": "string"}} for name, text in _RATE_FIELDS.items()
                },
                "content": {"application/json": done},
            }
            for status in operation.statuses
        }
        for status in sorted(_EVERYWHERE | operation.refusals):
            content: dict[str, Any] = {"schema": self._problem()}
            if examples := operation.problems.get(status):
                content["examples"] = _examples(examples)
            answers[str(status)] = {"description": _REFUSALS[status], "content": {PROBLEM_JSON: content}}
            if status in {429, 503}:
                retry = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
                answers[str(status)]["headers"] = {"Retry-After": retry}
        return answers

    def _schema(self, kind: Any) -> dict[str, Any]:
        """A reference to the type's schema; what it is made of becomes components, too. Several types: one of them."""
        if isinstance(kind, tuple):
            return {"oneOf": [self._schema(each) for each in kind]}
        (schema,), components = msgspec.json.schema_components([kind], ref_template=_REF)
        for name, component in components.items():
            self._register(name, component)
        return dict(schema)

    def _problem(self) -> dict[str, Any]:
        self._register("Problem", _PROBLEM)
        return {"$ref": _REF.format(name="Problem")}

    def _register(self, name: str, schema: Any) -> None:
        component = ResolvedComponent(name=name, type=ResolvedComponent.SCHEMA, schema=schema, object=name)
        self.registry.register_on_missing(component)


def _examples(examples: tuple[Example, ...]) -> dict[str, Any]:
    return {example.title: {"value": dict(example.value)} for example in examples}
