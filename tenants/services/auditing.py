"""The audit entry of a change, written inside the change's own transaction."""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from common.canonical import canonical_json
from common.clock import real_clock
from common.ids import new_id
from tenants.domain.actors import Actor
from tenants.models import AuditEntry, Identified

MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class AuditNote:
    """What was done to what: `action` is `entity.verb`, `changes` `{field: [before, after]}`, no secrets."""

    action: str
    target: Identified
    changes: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


def commitment(salt: bytes, actor_name: str, address: str) -> bytes:
    """What stands for the personal fields in the chain: SHA-256 over a random salt and the fields."""
    return hashlib.sha256(salt + canonical_json([actor_name, address])).digest()


def record_audit(
    *,
    tenant_id: UUID,
    actor: Actor,
    action: str,
    target: Identified,
    changes: Mapping[str, Any] | None = None,
    reason: str = "",
    at: datetime | None = None,
) -> AuditEntry:
    """Note that `actor` did `action` (`entity.verb`) to `target`; `changes` is `{field: [before, after]}`, no secrets.

    `at` is real time: the trail says when something was done, also in a workspace whose clock was moved.
    """
    note = AuditNote(action, target, changes or {}, reason)
    entry = _entry(tenant_id, actor, note, at or real_clock().now())
    entry.save(force_insert=True)
    return entry


def record_audits(tenant_id: UUID, actor: Actor, notes: Iterable[AuditNote]) -> None:
    """Note many changes by one actor, in this order and in one insert."""
    now = real_clock().now()
    AuditEntry.objects.bulk_create(_entry(tenant_id, actor, note, now) for note in notes)


def _entry(tenant_id: UUID, actor: Actor, note: AuditNote, at: datetime) -> AuditEntry:
    salt = secrets.token_bytes(16)
    return AuditEntry(
        id=new_id(),
        tenant_id=tenant_id,
        at=at,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_name=actor.name,
        action=note.action,
        target_kind=note.target._meta.model_name or "",
        target_id=note.target.public_id,
        changes=dict(note.changes),
        reason=note.reason[:MAX_REASON],
        request_id=actor.request_id,
        address=actor.address,
        personal_commitment=commitment(salt, actor.name, actor.address),
        salt=salt,
    )
