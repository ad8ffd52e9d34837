"""Signed licences as files, for machines that never connect."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from common.clock import real_clock
from common.errors import Conflict, Invalid, NotFound, Unavailable
from licenses.domain.decision import decide_license
from licenses.domain.enums import LicenseKind
from licenses.domain.license_tokens import license_file
from licenses.domain.token_terms import FILE_LIFE, license_claims, token_end
from licenses.models import IssuedToken, License
from licenses.selectors.access import AccessSnapshot, load_license
from licenses.selectors.signing import published_keys
from licenses.services.tokens import StaleSnapshot, issue_token, issuer_of
from tenants.domain.actors import Actor
from tenants.models import Tenant
from tenants.services import fields
from tenants.services.auditing import record_audit

MAX_FINGERPRINT = 256
MAX_AUDIENCE = 200
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class LicenseFile:
    """A file's text, which is not kept, and what it is known by."""

    text: str
    token_text: str
    token: IssuedToken
    fingerprint: str | None

    def __repr__(self) -> str:
        return f"LicenseFile({self.token!r})"


def export_license_file(
    *,
    tenant: Tenant,
    license_id: UUID,
    actor: Actor,
    fingerprint: str | None = None,
    expires_at: datetime | None = None,
    audience: str | None = None,
    reason: str = "",
) -> LicenseFile:
    """Sign a licence into a file that holds without ever asking anybody, for a year unless `expires_at` is given.

    It ends at the latest with the licence (in the workspace's time), or with a grant that ends before it; it is in a
    status list like any other token, and can be revoked for whoever reads the list. Whether the plan demands an
    activation is not asked: bind it to a `fingerprint` instead.
    Raises NotFound, Invalid, Conflict: the code of what stands against the licence, or `license_not_signed`.
    """
    fingerprint = None if fingerprint is None else fields.text(fingerprint, "fingerprint", max_length=MAX_FINGERPRINT)
    audience = None if audience is None else fields.text(audience, "audience", max_length=MAX_AUDIENCE)
    reason = fields.reason(reason)
    for _ in range(_ROUNDS):
        access = load_license(tenant.id, license_id)
        if access is None:
            raise NotFound("No license has this id.")
        try:
            with transaction.atomic():
                return _export(tenant, access, actor, fingerprint, expires_at, audience, reason)
        except StaleSnapshot:
            continue
    raise Unavailable("The license changed again and again. Nothing was done.")


def _export(
    tenant: Tenant,
    access: AccessSnapshot,
    actor: Actor,
    fingerprint: str | None,
    expires_at: datetime | None,
    audience: str | None,
    reason: str,
) -> LicenseFile:
    at = access.clock.now()
    if expires_at is not None and expires_at <= at:
        raise Invalid.field("expires_at", "in_the_past", "A file ends in the future.")
    facts = replace(access.facts, activation_required=False)
    decision = decide_license(facts, at=at)
    if not decision.valid:
        standing = next(each for each in decision.reasons if each.blocks)
        raise Conflict(decision.code.value, standing.message)
    if facts.license.kind is LicenseKind.OPAQUE:
        raise Conflict("license_not_signed", "The license is carried as a key only: change its kind to both first.")
    ends = token_end(facts, at, wanted=expires_at or at + FILE_LIFE)
    real_end = (real_clock().now() + (ends - at)).replace(microsecond=0)
    claims: dict[str, Any] = license_claims(facts, at, audience=audience, fingerprint=fingerprint)
    signed = issue_token(access=access, claims=claims, expires_at=real_end, offline_file=True)
    record_audit(
        tenant_id=tenant.id,
        actor=actor,
        action="license.file_exported",
        target=License.objects.for_tenant(tenant).get(pk=facts.license.id),
        changes={
            "token": [None, signed.token.public_id],
            "fingerprint": [None, fingerprint],
            "expires_at": [None, real_end.isoformat().replace("+00:00", "Z")],
        },
        reason=reason,
    )
    jwks = {"keys": published_keys(tenant.id, at=signed.issued_at)}
    text = license_file(signed.text, jwks, issuer=issuer_of(tenant.slug), audience=claims["aud"])
    return LicenseFile(text, signed.text, signed.token, fingerprint)
