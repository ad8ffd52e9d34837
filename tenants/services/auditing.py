"""The audit entry of a change, written inside the change's own transaction."""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from common.canonical import canonical_json
from common.clock import real_clock
from common.ids import new_id
from tenants.domain.actors import Actor
from tenants.models import AuditEntry, Identified

MAX_REASON = 500


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
    salt = secrets.token_bytes(16)
    entry = AuditEntry(
        id=new_id(),
        tenant_id=tenant_id,
        at=at or real_clock().now(),
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_name=actor.name,
        action=action,
        target_kind=target._meta.model_name or "",
        target_id=target.public_id,
        changes=dict(changes or {}),
        reason=reason[:MAX_REASON],
        request_id=actor.request_id,
        address=actor.address,
        personal_commitment=commitment(salt, actor.name, actor.address),
        salt=salt,
    )
    entry.save(force_insert=True)
    return entry
