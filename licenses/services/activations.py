"""Activations: licences bound to machines or to copies of an agent, within the number of places that their plans have.

Places are counted by the clock: one whose lease has ended is free from that instant, whoever notes it and when.
Whoever takes a place holds the licence's row while counting; whoever keeps one holds it shared, so that heartbeats do
not queue for one another, yet no place is counted as free and kept at once. Times are read after the lock for that
reason: a call that waited must not go by an earlier clock than the one that it waited for.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count, Q

from common.clock import Clock, real_clock
from common.epochs import EpochKey
from common.errors import Conflict, Forbidden, Invalid, NotFound
from common.ids import Prefix, encode_id, new_id
from common.text import TextError, check_text
from licenses.domain.activations import ActivationStatus, activation_status, lease_end, tells_of_limit
from licenses.domain.enums import AgentStatus, LicenseStatus
from licenses.models import Activation, License
from licenses.selectors.licenses import CarriedPlans, carried_plans
from tenants.domain.actors import Actor
from tenants.domain.enums import EpochKind
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import apply_changes, plain
from tenants.services.epochs import bump_epochs
from tenants.services.outbox import OutgoingEvent, emit_event, emit_events

MAX_NAME: Final = 256
MAX_LABEL: Final = 200


class Activated(NamedTuple):
    """An activation, and whether this call made it."""

    activation: Activation
    created: bool


@dataclass(frozen=True, slots=True)
class Holder:
    """Who activates: a licence, through one of its agents or (None) by its own key."""

    tenant_id: UUID
    license_id: UUID
    agent_id: UUID | None
    clock: Clock


class _Lapsed(Exception):
    """The lease ended while a heartbeat was on its way."""


def activate(
    *, holder: Holder, actor: Actor, fingerprint: str | None = None, instance: str | None = None, label: str = ""
) -> Activated:
    """Take a place for a machine (`fingerprint`) or for a copy of the agent (`instance`); one of the two.

    The same name again is the same activation: its lease begins anew, and one that had lapsed takes a place again.
    The limit is the base plan's and what its add-ons add to it. Emits `activation.created` where a place is taken
    (`revived` if it had been held before). Raises Invalid, Forbidden `activation_limit_reached` (with `limit` and
    `current`) or `license_revoked`.
    """
    fingerprint, instance = _names(holder, fingerprint, instance)
    label = fields.text(label, "label", max_length=MAX_LABEL, blank=True)
    with transaction.atomic():
        license = _locked(holder)
        at = holder.clock.now()
        found = _standing(holder).filter(fingerprint=fingerprint, instance=instance)
        activation = found.filter(agent_id=holder.agent_id).first() if instance else found.first()
        plans = carried_plans(license)
        lease = plans.base.activation_lease
        if activation is not None:
            return Activated(_kept(activation, license, plans, actor, at, lease, label), created=False)
        first = _take_place(license, plans, at)
        activation = Activation.objects.create(
            id=new_id(),
            tenant_id=holder.tenant_id,
            license=license,
            agent_id=holder.agent_id,
            fingerprint=fingerprint,
            instance=instance,
            label=label,
            last_heartbeat_at=at,
            expires_at=lease_end(at, lease),
        )
        changes = {"fingerprint": [None, fingerprint], "instance": [None, instance], "label": [None, label]}
        _record(activation, actor, "activation.created", changes | {"expires_at": [None, plain(activation.expires_at)]})
        emit_activation_event("activation.created", activation, license, revived=False)
        if first:
            # Callers' snapshots say whether there is anything to look for.
            bump_epochs(holder.tenant_id, EpochKey(EpochKind.LICENSE, license.id))
    return Activated(activation, created=True)


def heartbeat(
    *,
    holder: Holder,
    activation_id: UUID,
    actor: Actor,
    lease: int | None,
    check_revival: Callable[[], None] = lambda: None,
) -> Activation:
    """Let the lease begin anew, for `lease` seconds (the base plan's; None: for good).

    One that has lapsed gets its place back if `check_revival` raises nothing and a place is free. Raises NotFound,
    Conflict `activation_released`, Forbidden `activation_limit_reached`.
    """
    with suppress(_Lapsed):
        return _beat_in_time(holder, activation_id, lease)
    with transaction.atomic():
        license = _locked(holder)
        activation = _own(holder, activation_id)
        check_revival()
        return _kept(activation, license, carried_plans(license), actor, holder.clock.now(), lease)


def give_up(*, holder: Holder, activation_id: UUID, actor: Actor) -> Activation:
    """Give the place back, at once; twice is the same as once. Emits `activation.released`. Raises NotFound."""
    with transaction.atomic():
        _own(holder, activation_id, released=True)
        return _release(holder.tenant_id, activation_id, actor, holder.clock.now(), "")


def release_activation(*, tenant: Tenant, activation_id: UUID, actor: Actor, reason: str = "") -> Activation:
    """Take the place back from whoever holds it: `not_activated` is the answer from then on.

    Twice is the same as once. Emits `activation.released`. Raises NotFound.
    """
    with transaction.atomic():
        return _release(tenant.id, activation_id, actor, clock_of(tenant).now(), fields.reason(reason))


def note_limit_reached(*, holder: Holder, limit: int, current: int, actor: Actor) -> bool:
    """Tell the vendor that a place was wanted and none was left; whether it was told.

    Once for as long as the licence stays full, and again after an hour: machines that try again and again must not
    flood anybody. In a transaction of its own, as the refusal has none. Emits `activation.limit_reached`.
    """
    at = real_clock().now()
    with transaction.atomic():
        license = _locked(holder)
        if not tells_of_limit(license.activation_limit_noted_at, at):
            return False
        _note_limit(license, at)
        record_audit(
            tenant_id=holder.tenant_id,
            actor=actor,
            action="activation.limit_reached",
            target=license,
            changes={"limit": limit, "current": current},
        )
        data = {
            "license": license.public_id,
            "customer": encode_id(Prefix.CUSTOMER, license.customer_id),
            "agent": _agent_id(holder.agent_id),
            "limit": limit,
            "current": current,
        }
        emit_event(tenant_id=holder.tenant_id, type="activation.limit_reached", subject=license.public_id, data=data)
    return True


def tell_lapsed(activation: Activation, actor: Actor, at: datetime) -> OutgoingEvent:
    """Write the audit entry of a lapse; the event that tells of it. Its licence is loaded."""
    _record(activation, actor, "activation.lapsed", {"lapse_noted_at": [None, plain(at)]})
    return activation_event("activation.lapsed", activation, activation.license)


def _names(holder: Holder, fingerprint: str | None, instance: str | None) -> tuple[str | None, str | None]:
    if (fingerprint is None) == (instance is None):
        detail = "Send the fingerprint of a machine, or the name of the agent's instance where there is none."
        raise Invalid.field("fingerprint", "required" if fingerprint is None else "one_of", detail)
    if instance is not None and holder.agent_id is None:
        raise Invalid.field("instance", "only_for_agents", "Copies are told apart below an agent: use an agent's key.")
    return _name(fingerprint, "fingerprint"), _name(instance, "instance")


def _name(value: str | None, field: str) -> str | None:
    if value is None:
        return None
    try:
        check_text(value, max_length=MAX_NAME)
    except TextError as error:
        raise Invalid.field(field, error.code, error.detail) from None
    if not value.strip():
        raise Invalid.field(field, "blank", "It cannot be empty.")
    return value


def _locked(holder: Holder) -> License:
    """The licence, held alone until the transaction ends."""
    return License.objects.for_tenant(holder.tenant_id).select_for_update(no_key=True).get_or_raise(holder.license_id)


def _share(license_id: UUID) -> None:
    """Keep those out who count places, and nobody else."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM licenses_license WHERE id = %s FOR SHARE", [license_id])


def _standing(holder: Holder) -> Any:
    mine = Activation.objects.for_tenant(holder.tenant_id).filter(license_id=holder.license_id)
    return mine.filter(released_at__isnull=True).select_for_update(no_key=True)


def _beat_in_time(holder: Holder, activation_id: UUID, lease: int | None) -> Activation:
    """A heartbeat of a living lease. Raises _Lapsed, and gives the locks back, where it has ended."""
    with transaction.atomic():
        _share(holder.license_id)
        activation = _own(holder, activation_id)
        at = holder.clock.now()
        if _status(activation, at) is ActivationStatus.LAPSED:
            raise _Lapsed
        _beat(activation, at, lease)
    return activation


def _own(holder: Holder, activation_id: UUID, *, released: bool = False) -> Activation:
    """An activation of this licence; one for a copy is its own agent's only."""
    found = (
        Activation.objects.for_tenant(holder.tenant_id)
        .filter(Q(instance__isnull=True) | Q(agent_id=holder.agent_id), license_id=holder.license_id, pk=activation_id)
        .select_for_update(no_key=True)
        .first()
    )
    if found is None:
        raise NotFound("There is no such activation.")
    if found.released_at is not None and not released:
        detail = "The activation was released. Activate again."
        raise Conflict("activation_released", detail)
    return found


def _status(activation: Activation, at: datetime) -> ActivationStatus:
    return activation_status(expires_at=activation.expires_at, released_at=activation.released_at, at=at)


def _take_place(license: License, plans: CarriedPlans, at: datetime) -> bool:
    """Refuse one more place than there are; whether the licence had no activation before. Its row is locked."""
    limit = plans.activation_limit
    mine = Activation.objects.for_tenant(license.tenant_id).filter(license=license, released_at__isnull=True)
    holding = Q(expires_at__isnull=True) | Q(expires_at__gt=at)
    # A copy of an agent that was revoked for good, or whose life was over, holds nothing any more.
    lives = Q(agent__archived_at__isnull=True) & ~Q(agent__status=AgentStatus.REVOKED)
    holding &= Q(instance__isnull=True) | lives
    counted: Mapping[str, int] = mine.aggregate(all=Count("id"), current=Count("id", filter=holding))
    if license.status == LicenseStatus.REVOKED:
        raise Forbidden("license_revoked", "The license was revoked for good. Ask the vendor for a new one.")
    if limit is not None and counted["current"] >= limit:
        current = counted["current"]
        detail = f"The license allows {limit} activations, and {current} hold a place. Release one, or ask for more."
        raise Forbidden("activation_limit_reached", detail, extra={"limit": limit, "current": current})
    if license.activation_limit_noted_at is not None:
        _note_limit(license, None)
    return counted["all"] == 0


def _note_limit(license: License, at: datetime | None) -> None:
    License.objects.for_tenant(license.tenant_id).filter(pk=license.pk).update(activation_limit_noted_at=at)


def _kept(
    activation: Activation,
    license: License,
    plans: CarriedPlans,
    actor: Actor,
    at: datetime,
    lease: int | None,
    label: str = "",
) -> Activation:
    """An activation that stands, its lease begun anew; after a lapse it has to find a place. The licence is locked."""
    lapsed_at = activation.expires_at
    lapsed = _status(activation, at) is ActivationStatus.LAPSED
    if lapsed:
        _take_place(license, plans, at)
        activation.license = license
        if activation.lapse_noted_at is None:
            emit_events([tell_lapsed(activation, actor, at)])
    changes = apply_changes(activation, {"label": label or activation.label})
    if changes:
        activation.save(update_fields=["label", "updated_at"])
        _record(activation, actor, "activation.updated", changes)
    _beat(activation, at, lease)
    if lapsed:
        changes = {"expires_at": [plain(lapsed_at), plain(activation.expires_at)]}
        _record(activation, actor, "activation.revived", changes)
        emit_activation_event("activation.created", activation, license, revived=True)
    return activation


def _beat(activation: Activation, at: datetime, lease: int | None) -> None:
    activation.last_heartbeat_at = at
    activation.expires_at = lease_end(at, lease)
    activation.lapse_noted_at = None
    activation.save(update_fields=["last_heartbeat_at", "expires_at", "lapse_noted_at", "updated_at"])


def _release(tenant_id: UUID, activation_id: UUID, actor: Actor, at: datetime, reason: str) -> Activation:
    found = Activation.objects.for_tenant(tenant_id).select_related("license")
    activation = found.select_for_update(of=("self",), no_key=True).get_or_raise(activation_id)
    if activation.released_at is None:
        changes = apply_changes(activation, {"released_at": at})
        activation.save(update_fields=["released_at", "updated_at"])
        _record(activation, actor, "activation.released", changes, reason)
        emit_activation_event("activation.released", activation, activation.license, reason=reason)
    return activation


def _record(
    activation: Activation, actor: Actor, action: str, changes: Mapping[str, Any] | None = None, reason: str = ""
) -> None:
    record_audit(
        tenant_id=activation.tenant_id, actor=actor, action=action, target=activation, changes=changes, reason=reason
    )


def emit_activation_event(type: str, activation: Activation, license: License, **more: Any) -> None:
    emit_events([activation_event(type, activation, license, **more)])


def activation_event(type: str, activation: Activation, license: License, **more: Any) -> OutgoingEvent:
    data = {
        "activation": activation.public_id,
        "license": license.public_id,
        "customer": encode_id(Prefix.CUSTOMER, license.customer_id),
        "agent": _agent_id(activation.agent_id),
        "fingerprint": activation.fingerprint,
        "instance": activation.instance,
        "label": activation.label,
        "expires_at": plain(activation.expires_at),
        **more,
    }
    return OutgoingEvent(activation.tenant_id, type, activation.public_id, data)


def _agent_id(agent_id: UUID | None) -> str | None:
    return None if agent_id is None else encode_id(Prefix.AGENT, agent_id)
