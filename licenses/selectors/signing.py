"""Reads of signing keys, of what was signed with them, and of what status lists say of it."""

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import Max, Q

from licenses.domain.enums import SigningKeyStatus
from licenses.domain.status_list import TokenStatus
from licenses.models import IssuedToken, Plan, SigningKey
from tenants.models import Tenant, TenantQuerySet

#: A signed status list may be kept for so long; the key that signed it stays in the key set until then.
STATUS_LIST_LIFE: Final = timedelta(days=1)

_STATUSES = """
SELECT token.list_index, CASE
    WHEN token.revoked_at IS NOT NULL OR signing_key.status = 'compromised' OR license.status = 'revoked'
        OR license.archived_at IS NOT NULL OR customer.status = 'archived' OR path.dead
    THEN %(revoked)s ELSE %(suspended)s END
FROM licenses_issuedtoken AS token
JOIN licenses_signingkey AS signing_key ON signing_key.id = token.signing_key_id
JOIN licenses_license AS license ON license.id = token.license_id
JOIN tenants_customer AS customer ON customer.id = license.customer_id
LEFT JOIN licenses_licenseplan AS carried ON carried.license_id = license.id AND carried.role = 'base'
LEFT JOIN licenses_plan AS plan ON plan.id = carried.plan_id
LEFT JOIN (
    SELECT agent.id,
        bool_or(above.status = 'revoked' OR above.archived_at IS NOT NULL) AS dead,
        bool_or(above.status <> 'active' OR above.expires_at <= %(now)s) AS held_up
    FROM licenses_agent AS agent
    JOIN licenses_agent AS above ON above.id = ANY(agent.path)
    WHERE agent.tenant_id = %(tenant)s
        AND agent.id IN (
            SELECT agent_id FROM licenses_issuedtoken WHERE tenant_id = %(tenant)s AND list_number = %(number)s
        )
    GROUP BY agent.id
) AS path ON path.id = token.agent_id
WHERE token.tenant_id = %(tenant)s AND token.list_number = %(number)s AND (
    %(closed)s
    OR token.revoked_at IS NOT NULL
    OR signing_key.status = 'compromised'
    OR license.status <> 'active'
    OR license.archived_at IS NOT NULL
    OR license.starts_at > %(now)s
    OR license.expires_at + make_interval(days => coalesce(plan.grace_days, 0)) <= %(now)s
    OR customer.status <> 'active'
    OR path.dead
    OR path.held_up
)
"""


class ListSize(NamedTuple):
    """How many tokens have had a place in a list, and the highest place."""

    taken: int
    highest: int


def signing_keys_of(tenant: Tenant | UUID) -> TenantQuerySet[SigningKey]:
    """A workspace's signing keys, newest first."""
    return SigningKey.objects.for_tenant(tenant).order_by("-created_at", "-id")


def tokens_of(tenant: Tenant | UUID) -> TenantQuerySet[IssuedToken]:
    """What was signed, newest first, with whose it is."""
    return (
        IssuedToken.objects.for_tenant(tenant)
        .select_related("license", "agent", "signing_key")
        .order_by("-created_at", "-id")
    )


def lease_token(tenant_id: UUID, license_id: UUID, hold_id: UUID) -> IssuedToken | None:
    """The token that carries this lease."""
    return IssuedToken.objects.for_tenant(tenant_id).filter(license_id=license_id, hold_id=hold_id).first()


def token_ttl(tenant_id: UUID, plan_id: UUID) -> timedelta:
    """How long a plan lets a signed licence live."""
    return timedelta(seconds=Plan.objects.for_tenant(tenant_id).values_list("token_ttl", flat=True).get(pk=plan_id))


def published_keys(tenant_id: UUID, *, at: datetime) -> list[dict[str, Any]]:
    """The public keys that something still in force was signed with, the active one first; `at` is real time.

    A compromised key is not among them.
    """
    in_use = Q(last_token_expires_at__gt=at) | Q(retired_at__gt=at - STATUS_LIST_LIFE)
    keys = SigningKey.objects.for_tenant(tenant_id).filter(
        Q(status=SigningKeyStatus.ACTIVE) | (Q(status=SigningKeyStatus.RETIRED) & in_use)
    )
    return [key.public_jwk for key in keys.order_by("status", "-created_at", "-id")]


def newest_list(tenant_id: UUID) -> int:
    """The number of the workspace's newest status list; 0 while there is none."""
    found = IssuedToken.objects.for_tenant(tenant_id).aggregate(newest=Max("list_number"))
    return found["newest"] or 0


def list_size(tenant_id: UUID, number: int) -> ListSize:
    """How full a status list is."""
    places = IssuedToken.objects.for_tenant(tenant_id).filter(list_number=number)
    highest = places.aggregate(highest=Max("list_index"))["highest"]
    return ListSize(places.count(), -1 if highest is None else highest)


def statuses_in_list(tenant_id: UUID, number: int, *, now: datetime, closed: bool) -> dict[int, int]:
    """What is to be said of a list's tokens, by place; those that hold are left out.

    Derived from the states as they stand: of the token, its signing key, licence, customer, agent and those above
    it, and (`closed`) of the workspace. `now` is the workspace's time.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _STATUSES,
            {
                "tenant": tenant_id,
                "number": number,
                "now": now,
                "closed": closed,
                "revoked": int(TokenStatus.REVOKED),
                "suspended": int(TokenStatus.SUSPENDED),
            },
        )
        return dict(cursor.fetchall())
