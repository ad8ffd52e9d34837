"""Licences: issued to a customer, changed, and given a new key."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from msgspec import UNSET, UnsetType

from common.epochs import EpochKey
from common.errors import Conflict, Invalid
from licenses.domain.enums import LicenseKind
from licenses.domain.license_changes import LicenseChange
from licenses.models import License, LicensePlan
from licenses.selectors.licenses import carried_plans
from licenses.selectors.lookup import resolve_customer
from licenses.services.grants import read_license_grants, replace_license_grants
from licenses.services.license_drafts import (
    PlanBook,
    PlanReference,
    carrying,
    check_order,
    draft_license,
    find_plans,
    set_new_key,
    store_drafts,
)
from licenses.services.license_rules import refuse_if_forbidden
from licenses.services.plans import LIMIT_LEVELS
from tenants.domain.actors import Actor
from tenants.domain.enums import CustomerStatus, EpochKind
from tenants.models import Customer, Tenant
from tenants.selectors.clocks import clock_of
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import Changes, apply_changes
from tenants.services.customers import get_or_create_customer
from tenants.services.epochs import bump_epochs, republish
from tenants.services.locks import lock_configuration

#: A customer itself, its id (UUID or `cus_...`), its external id, or `{"external_id", "name"}` to be made if need be.
CustomerReference = Customer | UUID | str | Mapping[str, Any]


class IssuedLicense(NamedTuple):
    """A licence and the text of its key, which is shown once; None for a licence that is only carried signed."""

    license: License
    license_key: str | None

    def __repr__(self) -> str:
        return f"IssuedLicense({self.license!r})"


def issue_license(
    *,
    tenant: Tenant,
    actor: Actor,
    customer: CustomerReference,
    plan: PlanReference,
    add_ons: Sequence[PlanReference] = (),
    kind: str = LicenseKind.BOTH,
    starts_at: datetime | None = None,
    expires_at: datetime | None = None,
    grants: Sequence[Mapping[str, Any]] = (),
    rate_limits: Sequence[Mapping[str, Any]] = (),
    hold_limit: int | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> IssuedLicense:
    """Issue a licence. It starts now, on the workspace's clock, and ends with the plan's term unless times are given.

    An expiry in the past is allowed, as history; one without a start begins no later than it ends. `grants` are
    `[{"feature": code or id, "value", "starts_at", "expires_at"}]`. Emits `license.issued`.
    Raises Invalid, Conflict `customer_archived`.
    """
    with transaction.atomic():
        # The plan may bring a quota that counts all of the customer's usage: no event in flight may miss it.
        lock_configuration(tenant.id)
        holder = find_holder(tenant, actor, customer)
        draft = draft_license(
            PlanBook(tenant),
            plan=plan,
            add_ons=add_ons,
            kind=kind,
            starts_at=starts_at,
            expires_at=expires_at,
            grants=grants,
            rate_limits=rate_limits,
            hold_limit=hold_limit,
            metadata=metadata,
        )
        store_drafts(tenant, actor, [(draft, holder)])
    return IssuedLicense(draft.license, draft.license_key)


def update_license(
    *,
    tenant: Tenant,
    license_id: UUID,
    actor: Actor,
    plan: PlanReference | UnsetType = UNSET,
    add_ons: Sequence[PlanReference] | UnsetType = UNSET,
    kind: str | UnsetType = UNSET,
    starts_at: datetime | UnsetType = UNSET,
    expires_at: datetime | UnsetType | None = UNSET,
    grants: Sequence[Mapping[str, Any]] | UnsetType = UNSET,
    rate_limits: Sequence[Mapping[str, Any]] | UnsetType = UNSET,
    hold_limit: int | UnsetType | None = UNSET,
    metadata: Mapping[str, Any] | UnsetType | None = UNSET,
    customer: CustomerReference | UnsetType = UNSET,
    reason: str = "",
) -> License:
    """Change what is given; lists replace lists, an expiry of None is perpetual.

    Another plan keeps the expiry. The customer may be sent again but never changes here (Invalid `immutable`).
    A change of plan or add-ons takes the configuration lock, as it changes which balances an event touches;
    metering wraps that case. Raises NotFound, Invalid, Conflict `license_archived`, RevocationPending.
    """
    wanted = {
        "kind": UNSET if kind is UNSET else fields.member(kind, "kind", LicenseKind),
        "starts_at": UNSET if starts_at is UNSET else fields.instant(starts_at, "starts_at"),
        "expires_at": UNSET if expires_at is UNSET else fields.optional_instant(expires_at, "expires_at"),
        "rate_limits": UNSET if rate_limits is UNSET else fields.rate_limits(rate_limits, levels=LIMIT_LEVELS),
        "hold_limit": UNSET if hold_limit is UNSET else fields.optional_integer(hold_limit, "hold_limit"),
        "metadata": UNSET if metadata is UNSET else fields.metadata(metadata),
    }
    reason = fields.reason(reason)
    with transaction.atomic():
        if plan is not UNSET or add_ons is not UNSET:
            lock_configuration(tenant.id)
        license = _locked(tenant, license_id)
        if license.archived_at is not None:
            raise Conflict("license_archived", "The license is archived and does not change any more.")
        if customer is not UNSET:
            fields.immutable(_named_customer_id(tenant, customer), license.customer_id, "customer")
        changes = apply_changes(license, wanted)
        if "expires_at" in changes:
            # The new expiry is to be made known in its turn.
            license.expired_noted_at = license.expiring_noted_days = None
        if changes.keys() & {"starts_at", "expires_at"}:
            check_order(license.starts_at, license.expires_at)
        changes |= _change_plans(license, plan, add_ons)
        if grants is not UNSET:
            changes |= _change_grants(license, grants)
        if changes:
            license.save()
            record_audit(
                tenant_id=tenant.id,
                actor=actor,
                action="license.updated",
                target=license,
                changes=changes,
                reason=reason,
            )
            bump_epochs(tenant.id, EpochKey(EpochKind.LICENSE, license.id))
        else:
            republish(tenant.id, EpochKey(EpochKind.LICENSE, license.id))
    return license


def rotate_license_key(*, tenant: Tenant, license_id: UUID, actor: Actor, reason: str = "") -> IssuedLicense:
    """Give a licence a new key; the old one is unknown from the moment that this returns.

    Raises NotFound, Conflict `license_revoked` or `license_only_signed`, RevocationPending.
    """
    reason = fields.reason(reason)
    with transaction.atomic():
        license = _locked(tenant, license_id)
        refuse_if_forbidden(license, LicenseChange.ROTATE_KEY)
        if license.kind == LicenseKind.SIGNED:
            raise Conflict("license_only_signed", "The license is of kind signed and carries no key. Change its kind.")
        before = license.key_hint
        text = set_new_key(license)
        license.save(update_fields=["key_digest", "key_pepper_id", "key_hint", "updated_at"])
        record_audit(
            tenant_id=tenant.id,
            actor=actor,
            action="license.key_rotated",
            target=license,
            changes={"key_hint": [before, license.key_hint]},
            reason=reason,
        )
        bump_epochs(tenant.id, EpochKey(EpochKind.LICENSE, license.id))
    return IssuedLicense(license, text)


def _locked(tenant: Tenant, license_id: UUID) -> License:
    return License.objects.for_tenant(tenant).select_for_update(no_key=True).get_or_raise(license_id)


def find_holder(tenant: Tenant, actor: Actor, customer: CustomerReference) -> Customer:
    """The customer whom a body names, made if need be. Raises Invalid, Conflict `customer_archived`."""
    if isinstance(customer, Mapping):
        fields.only_keys(customer, "customer", {"external_id", "name", "email"})
        external_id = fields.external_id(customer.get("external_id"), "customer.external_id")
        name = fields.text(customer.get("name", ""), "customer.name", blank=True)
        email = fields.email(customer.get("email", ""), "customer.email")
        holder, _ = get_or_create_customer(tenant=tenant, actor=actor, external_id=external_id, name=name, email=email)
    else:
        holder = resolve_customer(tenant, customer)
    if holder.status == CustomerStatus.ARCHIVED:
        raise Conflict("customer_archived", "The customer is archived. Reinstate it to issue a license to it.")
    return holder


def _named_customer_id(tenant: Tenant, customer: CustomerReference) -> UUID | None:
    """Whom a change names, without making anybody."""
    reference = customer.get("external_id") if isinstance(customer, Mapping) else customer
    return None if reference is None else resolve_customer(tenant, reference).id


def _change_plans(
    license: License, plan: PlanReference | UnsetType, add_ons: Sequence[PlanReference] | UnsetType
) -> Changes:
    if plan is UNSET and add_ons is UNSET:
        return {}
    before = carried_plans(license)
    after = find_plans(
        PlanBook(license.tenant),
        before.base if plan is UNSET else plan,
        before.add_ons if add_ons is UNSET else add_ons,
        carried=(before.base, *before.add_ons),
    )
    if after.base.product_id != before.base.product_id:
        detail = "This plan is of another product. Issue a new license for it."
        raise Invalid.field("plan", "other_product", detail)
    if after == before:
        return {}
    _replace_carried(license, carrying(license, after))
    changes: Changes = {}
    if after.base != before.base:
        changes["plan"] = [before.base.code, after.base.code]
    if after.add_ons != before.add_ons:
        changes["add_ons"] = [[each.code for each in before.add_ons], [each.code for each in after.add_ons]]
    return changes


def _replace_carried(license: License, wanted: Sequence[LicensePlan]) -> None:
    """Rows that stay are left alone: since when a licence carries a plan says which periods that one bills."""
    carried = LicensePlan.objects.for_tenant(license.tenant_id).filter(license=license)
    rows = {(row.plan_id, row.role): row for row in carried}
    since = {row.plan_id: row.since for row in rows.values()}
    kept = {(row.plan_id, row.role) for row in wanted} & rows.keys()
    gone = [row.pk for place, row in rows.items() if place not in kept]
    carried.filter(pk__in=gone).delete()
    now = clock_of(license.tenant).now()
    made = [row for row in wanted if (row.plan_id, row.role) not in kept]
    for row in made:
        row.since = since.get(row.plan_id, now)
    LicensePlan.objects.bulk_create(made)


def _change_grants(license: License, grants: Sequence[Mapping[str, Any]]) -> Changes:
    granted = set(license.grants.values_list("feature_id", flat=True))
    wanted = read_license_grants(carried_plans(license).product, grants, granted=granted)
    changed = replace_license_grants(license, wanted)
    return {"grants": changed} if changed else {}
