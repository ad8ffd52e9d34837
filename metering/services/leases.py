"""Leases: a hold that a signed licence carries offline. What it reserves nobody else can use until it ends.

Giving the lease back revokes the token, and revoking the token gives the lease back.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.db import transaction

from common.clock import real_clock
from common.errors import Conflict, NotFound
from common.ids import new_id
from licenses.domain.enums import SigningKeyStatus
from licenses.models import IssuedToken, SigningKey
from licenses.selectors.access import load_agent, load_license
from licenses.selectors.signing import tokens_of
from licenses.services import signing_keys, tokens
from metering.domain.enums import EventKind, HoldStatus, OnExcess
from metering.domain.quota_keys import event_digest
from metering.domain.requests import Line, Refusal, Request, Unrated, Verdict
from metering.domain.terms import Caller, MeterTerms
from metering.models import Hold, HoldLine
from metering.selectors.terms import load_caller
from metering.services import holds, ledger_sql
from metering.services.holds import HoldBook
from metering.services.ledger import post
from metering.services.payloads import ask_fingerprint
from tenants.domain.actors import Actor
from tenants.models import Tenant, TenantQuerySet
from tenants.selectors.clocks import clock_of

RELEASED: Final = "The lease that it carried was given back."
SETTLED: Final = "The lease that it carried was settled."


@dataclass(frozen=True, slots=True)
class LeasedLine:
    """How much of a meter is to be set aside."""

    meter: MeterTerms
    quantity: Decimal
    dimensions: Mapping[str, str]


class LeaseRefused(Exception):
    """Quotas without room for the lease, as they stood, or cost meters without a rate. Nothing is set aside."""

    def __init__(self, refusals: Sequence[Refusal], unrated: Sequence[Unrated] = ()) -> None:
        super().__init__("no room for the lease")
        self.refusals = tuple(refusals)
        self.unrated = tuple(unrated)


def take_lease(*, caller: Caller, lines: Sequence[LeasedLine], expires_at: datetime, at: datetime) -> UUID:
    """Set aside what a token shall carry, all or nothing over every level, until `expires_at` → the hold's id.

    Times are the workspace's. Raises LeaseRefused, StaleCallers.
    """
    hold_id, id = new_id(), f"lease-{new_id()}"
    request = Request(
        caller=caller,
        kind=EventKind.HOLD,
        id=id,
        digest=event_digest(caller.license_id, b"", id),
        fingerprint=ask_fingerprint(
            mode="hold",
            feature=None,
            value=None,
            usage=[(line.meter.id, line.quantity, line.dimensions) for line in lines],
            on_excess=OnExcess.COUNT.value,
        ),
        lines=[Line(line.meter, line.quantity, line.dimensions, at, new_id()) for line in lines],
        at=at,
        hold_id=hold_id,
    )
    post([request], companion=HoldBook({hold_id: (expires_at, OnExcess.COUNT)}, lease=True))
    if request.verdict is Verdict.REFUSED:
        raise LeaseRefused(request.refusals, request.unrated)
    return hold_id


def give_back(*, caller: Caller, hold_id: UUID, at: datetime) -> None:
    """Give back a lease whose token never came to be."""
    holds.release(caller=caller, hold_id=hold_id, at=at)


def release_lease(*, caller: Caller, hold_id: UUID, at: datetime, actor: Actor) -> Hold:
    """Give a hold back, and revoke the token that carries it, if one does.

    Raises NotFound, Conflict `hold_settled`, RevocationPending.
    """
    with transaction.atomic():
        hold = holds.release(caller=caller, hold_id=hold_id, at=at)
        tokens.revoke_lease_token(
            tenant_id=hold.tenant_id, license_id=hold.license_id, hold_id=hold.id, actor=actor, reason=RELEASED
        )
    return hold


def end_settled_lease(*, hold: Hold, actor: Actor) -> None:
    """Revoke the token of a lease that was settled for good: what it claims to carry was counted or given back.

    Nothing for any other hold, and nothing when done again: a settlement that is repeated makes up for a process that
    died in between. Raises RevocationPending.
    """
    if hold.lease and hold.status == HoldStatus.SETTLED:
        tokens.revoke_lease_token(
            tenant_id=hold.tenant_id, license_id=hold.license_id, hold_id=hold.id, actor=actor, reason=SETTLED
        )


def revoke_token(*, tenant: Tenant, token_id: UUID, actor: Actor, reason: str = "") -> IssuedToken:
    """Revoke a signed licence and give back the lease that it carries. Twice is the same as once.

    Raises NotFound, RevocationPending.
    """
    token = tokens_of(tenant).get_or_raise(token_id)
    with transaction.atomic():
        if token.hold_id is not None:
            _give_back(tenant, token)
        return tokens.revoke_token(tenant=tenant, token_id=token.id, actor=actor, reason=reason)


def rotate_signing_key(*, tenant: Tenant, actor: Actor, reason: str = "", compromised: bool = False) -> SigningKey:
    """Rotate, and give back the leases of the tokens that a compromised key has signed. Raises RevocationPending."""
    with transaction.atomic():
        if compromised:
            _lock_leases(tenant)
        new = signing_keys.rotate_signing_key(tenant=tenant, actor=actor, reason=reason, compromised=compromised)
        if compromised:
            _give_back_of_compromised(tenant)
    return new


def revoke_signing_key(*, tenant: Tenant, signing_key_id: UUID, actor: Actor, reason: str = "") -> SigningKey:
    """Revoke a signing key, and give back the leases of what it has signed. Raises NotFound, RevocationPending."""
    with transaction.atomic():
        _lock_leases(tenant)
        key = signing_keys.revoke_signing_key(tenant=tenant, signing_key_id=signing_key_id, actor=actor, reason=reason)
        _give_back_of_compromised(tenant)
    return key


def _lock_leases(tenant: Tenant) -> None:
    """Lock what all living leases reserve in, at once and in the ledger's order, before the workspace's row.

    Whoever signs a token with a lease holds its balances already and asks for that row next.
    """
    ledger_sql.lock_configuration_shared([tenant.id])
    lines = HoldLine.objects.for_tenant(tenant).filter(open=True, hold_id__in=_leasing(tenant).values("hold_id"))
    ledger_sql.lock_balances([tenant.id], list(lines.values_list("balance_id", flat=True).distinct()))


def _give_back_of_compromised(tenant: Tenant) -> None:
    for token in _leasing(tenant).filter(signing_key__status=SigningKeyStatus.COMPROMISED):
        _give_back(tenant, token)


def _leasing(tenant: Tenant) -> TenantQuerySet[IssuedToken]:
    """The living tokens that carry a lease."""
    return tokens_of(tenant).filter(hold_id__isnull=False, revoked_at__isnull=True, expires_at__gt=real_clock().now())


def _give_back(tenant: Tenant, token: IssuedToken) -> None:
    """Give back a token's lease; one that is settled or gone stays as it is."""
    access = (
        load_license(tenant.id, token.license_id) if token.agent_id is None else load_agent(tenant.id, token.agent_id)
    )
    if access is None or token.hold_id is None:
        return
    with suppress(Conflict, NotFound):
        holds.release(caller=load_caller(access), hold_id=token.hold_id, at=clock_of(tenant).now())


__all__ = [
    "LeaseRefused",
    "LeasedLine",
    "end_settled_lease",
    "give_back",
    "release_lease",
    "revoke_signing_key",
    "revoke_token",
    "rotate_signing_key",
    "take_lease",
]
