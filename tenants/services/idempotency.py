"""POSTs with an Idempotency-Key: the first answer is kept for 24 hours and given again.

The kept answer is written in the effect's own transaction, so there is never one without the other, and sealed,
as it may hold a secret. A first call that is still running holds an advisory lock that nobody waits for.
(draft-ietf-httpapi-idempotency-key-header)
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b, sha256
from typing import Any, NamedTuple, NoReturn
from uuid import UUID

from django.db import connection, transaction

from common.canonical import canonical_json
from common.clock import real_clock
from common.crypto import seal, unseal
from common.epochs import EpochKey
from common.errors import Conflict, Invalid
from tenants.models import Epoch, IdempotencyRecord
from tenants.services.epochs import republish

RETENTION = timedelta(hours=24)
_PURGE_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a POST was answered with: status, header fields worth keeping, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_kept(self) -> bool:
        """Refusals that the next try may not meet again are not remembered."""
        return self.status < 500 and self.status != 429


class Outcome(NamedTuple):
    """An answer, and whether it is a replay."""

    answer: Answer
    replayed: bool


def fingerprint(*, method: str, path: str, body: bytes) -> bytes:
    """32 bytes that stand for a request (`path` with its query); JSON bodies are compared by meaning."""
    try:
        meaning = canonical_json(json.loads(body, object_pairs_hook=_unambiguous))
    except (ValueError, RecursionError):
        meaning = body
    return sha256(canonical_json([method, path]) + b"\n" + meaning).digest()


def run_once(*, tenant_id: UUID, caller: str, key: str, fingerprint: bytes, produce: Callable[[], Answer]) -> Outcome:
    """The answer of `produce`, or the kept one of an earlier call of this caller with this key.

    `produce` runs inside the transaction that also keeps its answer; what it wrote is rolled back where it
    answers 400 or above. 429 and 5xx are not kept. A replay also tells Valkey again of what the first call
    changed, so it raises RevocationPending as long as that cannot be told.
    Raises Conflict `idempotency_in_progress`, Invalid `idempotency_key_reused`.
    """
    with transaction.atomic():
        began = real_clock().now()
        if not _try_lock(tenant_id, caller, key):
            raise Conflict("idempotency_in_progress", "The first call with this Idempotency-Key is still running.")
        known = IdempotencyRecord.objects.for_tenant(tenant_id).filter(caller=caller, key=key).first()
        if known is not None and known.expires_at > began:
            return Outcome(_replay(known, fingerprint), replayed=True)
        answer = _undone_if_refused(produce)
        if answer.is_kept:
            epochs = Epoch.objects.for_tenant(tenant_id).filter(changed_at__gte=began).values_list("kind", "subject_id")
            kept = {"body": b64encode(answer.body).decode(), "epochs": list(epochs)}
            IdempotencyRecord.objects.update_or_create(
                tenant_id=tenant_id,
                caller=caller,
                key=key,
                defaults={
                    "fingerprint": fingerprint,
                    "status": answer.status,
                    "headers": answer.headers,
                    "body": seal(canonical_json(kept)),
                    "expires_at": began + RETENTION,
                },
            )
        return Outcome(answer, replayed=False)


def purge_answers(*, now: datetime | None = None) -> int:
    """Remove the answers that are older than 24 hours, in chunks; how many there were."""
    at = now or real_clock().now()
    removed = 0
    while True:
        ids = list(IdempotencyRecord.objects.filter(expires_at__lte=at).values_list("pk", flat=True)[:_PURGE_CHUNK])
        removed += IdempotencyRecord.objects.filter(pk__in=ids, expires_at__lte=at).delete()[0]
        if len(ids) < _PURGE_CHUNK:
            return removed


def _replay(record: IdempotencyRecord, fingerprint: bytes) -> Answer:
    if bytes(record.fingerprint) != fingerprint:
        raise Invalid(
            "This Idempotency-Key came with another request before. Choose a new key for a new request.",
            code="idempotency_key_reused",
        )
    kept: dict[str, Any] = json.loads(unseal(record.body))
    if kept["epochs"]:
        republish(record.tenant_id, *(EpochKey(kind, UUID(subject_id)) for kind, subject_id in kept["epochs"]))
    return Answer(status=record.status, headers=record.headers, body=b64decode(kept["body"]))


def _undone_if_refused(produce: Callable[[], Answer]) -> Answer:
    with transaction.atomic():
        answer = produce()
        if answer.status >= 400:
            transaction.set_rollback(True)  # of this savepoint only
    return answer


def _try_lock(tenant_id: UUID, caller: str, key: str) -> bool:
    """Without waiting, so that it may be taken before the configuration lock, which comes first otherwise."""
    name = canonical_json(["idempotency", tenant_id, caller, key])
    number = int.from_bytes(blake2b(name, digest_size=8).digest(), "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        row = cursor.fetchone()
    return bool(row and row[0])


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse doubled names: two bodies that differ in the first one only would look alike."""
    found = dict(pairs)
    if len(found) != len(pairs):
        _refuse("a name stands here twice")
    return found


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)
