"""Who calls: a vendor's backend with a secret key. One answer for every key that is none."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest

from common.addresses import client_address, is_within
from common.clock import Clock, real_clock
from common.crypto import KeyKind, ParsedKey, parse_key
from common.errors import Forbidden, NetworkNotAllowed, Unauthorized
from common.requests import bearer_token_from, request_id_from
from licenses.selectors.access import load_by_agent_key
from tenants.domain.actors import Actor
from tenants.domain.enums import ActorKind, ApiKeyKind, TenantStatus
from tenants.domain.scopes import Scope, has_scope
from tenants.models import ApiKey, Tenant
from tenants.selectors.api_keys import authenticate
from tenants.selectors.clocks import clock_of
from tenants.services.key_digests import proved_api_key


@dataclass(frozen=True, slots=True)
class Caller:
    """A vendor's backend: its workspace, its key, and what an audit entry says of it."""

    tenant: Tenant
    key: ApiKey
    actor: Actor
    clock: Clock

    def require(self, scope: Scope) -> None:
        """Raise Forbidden `insufficient_scope` unless the key has the scope."""
        if not has_scope(self.key.scopes, scope):
            raise Forbidden("insufficient_scope", f"This key lacks the scope {scope}.", extra={"scope": str(scope)})


def authenticate_caller(request: HttpRequest) -> Caller:
    """The caller of a request to the vendors' door.

    Raises Unauthorized for a key that is missing, malformed, unknown, expired or revoked; Forbidden with
    `network_not_allowed` or `tenant_suspended`, or with `wrong_key_kind` for a good key of another kind.
    """
    token = bearer_token_from(request.META.get("HTTP_AUTHORIZATION"))
    parsed = parse_key(token) if token else None
    if token is None or parsed is None:
        raise Unauthorized
    if parsed.kind == KeyKind.AGENT:
        raise _wrong_kind() if _is_living_agent_key(parsed) else Unauthorized()
    key = authenticate(token)
    if key is None:
        raise Unauthorized
    if key.networks and not is_within(client_address(request), key.networks):
        raise NetworkNotAllowed
    if key.tenant.status == TenantStatus.SUSPENDED:
        raise Forbidden("tenant_suspended", "This workspace is suspended.")
    if key.kind != ApiKeyKind.SECRET:
        raise _wrong_kind()
    proved_api_key(key, parsed)
    return Caller(tenant=key.tenant, key=key, actor=_actor(request, key), clock=clock_of(key.tenant))


def _is_living_agent_key(parsed: ParsedKey) -> bool:
    access = load_by_agent_key(parsed)
    return access is not None and (access.key_expires_at is None or access.key_expires_at > real_clock().now())


def _actor(request: HttpRequest, key: ApiKey) -> Actor:
    return Actor(
        kind=ActorKind.API_KEY,
        id=key.public_id,
        name=key.name,
        address=client_address(request),
        request_id=request_id_from(request.META.get("HTTP_X_REQUEST_ID")),
    )


def _wrong_kind() -> Forbidden:
    return Forbidden("wrong_key_kind", "This door takes secret keys (pm_sk_) only.")
