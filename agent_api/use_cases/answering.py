"""What a use case gives back for a command: a body and header fields, or a problem with its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from msgspec import Struct

B = TypeVar("B", bound=Struct)


@dataclass(frozen=True, slots=True)
class Answer(Generic[B]):
    """What was asked for: its body, the rate-limit fields that go with it, and 201 where something was made."""

    body: B
    fields: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
