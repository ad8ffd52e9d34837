"""What a use case gives back for a command: a body and header fields, or a problem with its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from msgspec import Struct

B = TypeVar("B", bound=Struct)


@dataclass(frozen=True, slots=True)
class Answer(Generic[B]):
    """A 200: its body, and the rate-limit fields that go with it."""

    body: B
    fields: Mapping[str, str] = field(default_factory=dict)
