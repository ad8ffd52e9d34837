"""What the OpenAPI document says of an operation that its types do not say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct


@dataclass(frozen=True, slots=True)
class Example:
    """A body or an answer as it is on the wire."""

    title: str
    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter, or a header field with `place` "header"."""

    name: str
    description: str
    required: bool = False
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    place: str = "query"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    `bodies` says what may be sent, by media type: a type, or a tuple of types of which the body is one. `refusals`
    are the statuses beyond 401, 403, 429 and 503, which every call can get; `problems` shows examples of them.
    """

    name: str
    summary: str
    description: str
    tag: str
    answer: type[Struct]
    bodies: Mapping[str, Any] = field(default_factory=dict)
    body_required: bool = True
    parameters: tuple[Parameter, ...] = ()
    requests: tuple[Example, ...] = ()
    answers: tuple[Example, ...] = ()
    refusals: frozenset[int] = frozenset()
    problems: Mapping[int, tuple[Example, ...]] = field(default_factory=dict)
    #: What it answers with when it is done: 201 where something is made.
    statuses: tuple[int, ...] = (200,)
