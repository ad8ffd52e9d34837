"""Signed licences: issued with a place in a status list, and revoked."""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import jwt
import msgspec
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from jwt.algorithms import OKPAlgorithm

from common.clock import real_clock
from common.errors import Unavailable
from common.ids import Prefix, encode_id, new_id
from licenses.domain.enums import AgentStatus, LicenseStatus, SigningKeyStatus
from licenses.domain.license_tokens import LICENSE_TYPE
from licenses.domain.status_list import PLACES
from licenses.models import IssuedToken, SigningKey
from licenses.selectors.access import AccessSnapshot
from licenses.selectors.signing import list_size, newest_list
from licenses.services.signing_keys import ensure_signing_key, private_key
from tenants.domain.actors import Actor
from tenants.domain.enums import CustomerStatus, TenantStatus
from tenants.models import Tenant
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import apply_changes
from tenants.services.epochs import publish_statuses

_DRAWS: Final = 64
_ROUNDS: Final = 4
#: Counting a large list costs more than signing: one token in so many counts it.
_COUNT_ONE_IN: Final = 64

# Shared: whoever changes one of these states waits for this token to be there, so that a status list that is made
# after the change knows of it; and what has changed in the meantime is seen here.
_LOCK = """
SELECT license.status, customer.status, tenant.status, license.customer_id
FROM licenses_license AS license
JOIN tenants_customer AS customer ON customer.id = license.customer_id
JOIN tenants_tenant AS tenant ON tenant.id = license.tenant_id
WHERE license.tenant_id = %s AND license.id = %s AND license.archived_at IS NULL
FOR SHARE
"""
_LOCK_AGENTS = """
SELECT status FROM licenses_agent
WHERE tenant_id = %s AND id = ANY(%s) AND archived_at IS NULL
ORDER BY cardinality(path)
FOR SHARE
"""


_jws: Final = jwt.PyJWS(algorithms=["EdDSA"])
with suppress(ValueError):  # a newer PyJWT knows it by itself
    _jws.register_algorithm("Ed25519", OKPAlgorithm())


class StaleSnapshot(Exception):
    """What the token rests on has changed since the snapshot was read: read it anew and decide again."""


@dataclass(frozen=True, slots=True)
class SignedLicense:
    """A token's text, which is not kept, and its row."""

    text: str
    token: IssuedToken
    issued_at: datetime

    def __repr__(self) -> str:
        return f"SignedLicense({self.token!r})"


def issuer_of(tenant_slug: str) -> str:
    """Whose word a token is: the address under which the workspace publishes its keys and lists."""
    return f"{settings.BASE_URL}/t/{tenant_slug}"


def issue_token(
    *,
    access: AccessSnapshot,
    claims: Mapping[str, Any],
    expires_at: datetime,
    hold_id: UUID | None = None,
    confirmation: str = "",
    offline_file: bool = False,
    places: int = PLACES,
) -> SignedLicense:
    """Sign `claims` for the caller of `access`, until `expires_at` (real time), with a place in a status list.

    Whether the licence holds has been decided on `access`; that nothing of it has changed is made sure of here.
    Raises StaleSnapshot, Unavailable.
    """
    token_id = new_id()
    for _ in range(_ROUNDS):
        ensure_signing_key(access.tenant_id)
        with transaction.atomic():
            _hold_still(access)
            key = SigningKey.objects.for_tenant(access.tenant_id).filter(status=SigningKeyStatus.ACTIVE).first()
            if key is None:
                continue
            token = _place(
                IssuedToken(
                    id=token_id,
                    tenant_id=access.tenant_id,
                    license_id=access.facts.license.id,
                    agent_id=access.agent_id,
                    signing_key=key,
                    audience=claims["aud"],
                    hold_id=hold_id,
                    confirmation=confirmation,
                    offline_file=offline_file,
                    expires_at=expires_at,
                ),
                places,
            )
            issued_at = real_clock().now().replace(microsecond=0)
            issuer = issuer_of(access.tenant_slug)
            text = sign(
                key,
                {
                    **claims,
                    "iss": issuer,
                    "iat": int(issued_at.timestamp()),
                    "nbf": int(issued_at.timestamp()),
                    "exp": int(expires_at.timestamp()),
                    "jti": encode_id(Prefix.TOKEN, token_id),
                    "status": {
                        "status_list": {"idx": token.list_index, "uri": f"{issuer}/status-lists/{token.list_number}"}
                    },
                },
                typ=LICENSE_TYPE,
            )
            return SignedLicense(text, token, issued_at)
    raise Unavailable("The signing keys are being replaced. Nothing was done.")


def sign(key: SigningKey, claims: Mapping[str, Any], *, typ: str) -> str:
    """A signed JWT of this type."""
    return _jws.encode(
        msgspec.json.encode(dict(claims)),
        private_key(key),
        algorithm=settings.PERMETER_SIGNING_ALGORITHM,
        headers={"typ": typ, "kid": key.kid},
    )


def revoke_token(*, tenant: Tenant, token_id: UUID, actor: Actor, reason: str = "") -> IssuedToken:
    """Revoke one signed licence: the status list says so when this returns. Twice is the same as once.

    Raises NotFound, RevocationPending.
    """
    with transaction.atomic():
        token = IssuedToken.objects.for_tenant(tenant).select_for_update(no_key=True).get_or_raise(token_id)
        _revoke([token], actor, fields.reason(reason))
        publish_statuses(tenant.id)
    return token


def revoke_lease_token(*, tenant_id: UUID, license_id: UUID, hold_id: UUID, actor: Actor, reason: str) -> None:
    """Revoke the token that carries a lease which is given back; nothing where there is none."""
    with transaction.atomic():
        tokens = list(
            IssuedToken.objects.for_tenant(tenant_id)
            .filter(license_id=license_id, hold_id=hold_id)
            .select_for_update(no_key=True)
        )
        if tokens:
            _revoke(tokens, actor, reason)
            publish_statuses(tenant_id)


def _revoke(tokens: Sequence[IssuedToken], actor: Actor, reason: str) -> None:
    for token in tokens:
        if token.revoked_at is not None:
            continue
        changes = apply_changes(token, {"revoked_at": real_clock().now()})
        token.save(update_fields=["revoked_at", "updated_at"])
        record_audit(
            tenant_id=token.tenant_id,
            actor=actor,
            action="token.revoked",
            target=token,
            changes=changes,
            reason=reason,
        )


def _hold_still(access: AccessSnapshot) -> None:
    """Lock what the token rests on against changes. Raises StaleSnapshot if one has been made."""
    facts = access.facts
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [access.tenant_id, facts.license.id])
        expected = (LicenseStatus.ACTIVE, CustomerStatus.ACTIVE, TenantStatus.ACTIVE, facts.customer.id)
        if cursor.fetchone() != expected:
            raise StaleSnapshot
        if access.agent_path:
            cursor.execute(_LOCK_AGENTS, [access.tenant_id, list(access.agent_path)])
            if cursor.fetchall() != [(AgentStatus.ACTIVE,)] * len(access.agent_path):
                raise StaleSnapshot


def _place(token: IssuedToken, places: int) -> IssuedToken:
    """Store it under a place that nobody has had: drawn at random, in a list that is not half full."""
    token.list_number = _open_list(token.tenant_id, places)
    for _ in range(_DRAWS):
        token.list_index = secrets.randbelow(places)
        try:
            with transaction.atomic():
                token.save(force_insert=True)
        except IntegrityError as error:
            if "token_place" not in str(error):
                raise
        else:
            return token
    # More than half full after all: many were issued at once. The next one has room.
    token.list_number += 1
    token.save(force_insert=True)
    return token


def _open_list(tenant_id: UUID, places: int) -> int:
    """The newest list, or the one after it if that is half full: places are drawn at random, so room is needed."""
    newest = newest_list(tenant_id)
    if newest == 0:
        return 1
    if places > _COUNT_ONE_IN * 64 and secrets.randbelow(_COUNT_ONE_IN):
        return newest
    return newest + 1 if list_size(tenant_id, newest).taken * 2 >= places else newest
