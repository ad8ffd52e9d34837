"""POSTs with an Idempotency-Key: the first answer is kept for 24 hours and given again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Answer:
    """What a POST was answered with: status, header fields worth keeping, body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Outcome(NamedTuple):
    """An answer, and whether it is a replay."""

    answer: Answer
    replayed: bool


def fingerprint(*, method: str, path: str, body: bytes) -> bytes:
    """32 bytes that stand for a request; JSON bodies are compared by meaning."""
    raise NotImplementedError


def run_once(*, tenant_id: UUID, caller: str, key: str, fingerprint: bytes, produce: Callable[[], Answer]) -> Outcome:
    """The answer of `produce`, or the kept one of an earlier call; effect and kept answer are one transaction.

    What `produce` wrote is rolled back where it answers 400 or above. 429 and 5xx are not kept.
    Raises Conflict `idempotency_in_progress`, Invalid `idempotency_key_reused`.
    """
    raise NotImplementedError


def purge_answers(*, now: datetime | None = None) -> int:
    """Remove answers that are older than 24 hours; how many were."""
    raise NotImplementedError
