"""Licences before they are stored: checked one by one, then written all together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from common.crypto import mint_license_key
from common.epochs import EpochKey
from common.errors import Invalid
from licenses.domain.enums import LicenseKind, PlanRole
from licenses.domain.license_times import Term, add_term
from licenses.models import License, LicenseGrant, LicensePlan, Plan
from licenses.selectors.licenses import CarriedPlans
from licenses.selectors.lookup import resolve_plan
from licenses.services.grants import WantedGrant, read_license_grants
from licenses.services.plans import LIMIT_LEVELS
from tenants.domain.actors import Actor
from tenants.domain.enums import EpochKind
from tenants.models import Customer, Tenant
from tenants.selectors.clocks import clock_of
from tenants.services import fields
from tenants.services.auditing import AuditNote, record_audits
from tenants.services.changes import plain
from tenants.services.epochs import bump_epochs
from tenants.services.outbox import OutgoingEvent, emit_events

MAX_ADD_ONS: Final = 20

PlanReference = Plan | UUID | str


@dataclass(slots=True)
class PlanBook:
    """A workspace's plans as bodies name them, each looked up once."""

    tenant: Tenant
    known: dict[PlanReference, Plan] = field(default_factory=dict)

    def find(self, reference: PlanReference, field: str) -> Plan:
        """The plan of this id or code. Raises Invalid on `field`."""
        if reference not in self.known:
            self.known[reference] = resolve_plan(self.tenant, reference, field=field)
        return self.known[reference]


@dataclass(slots=True)
class LicenseDraft:
    """A licence that only lacks its customer; `license_key` is the text of its key, if it has one."""

    license: License
    plans: CarriedPlans
    grants: list[WantedGrant]
    license_key: str | None


def draft_license(
    book: PlanBook,
    *,
    plan: PlanReference,
    add_ons: Sequence[PlanReference] = (),
    kind: str = LicenseKind.BOTH,
    starts_at: datetime | None = None,
    expires_at: datetime | None = None,
    grants: Sequence[Mapping[str, Any]] = (),
    rate_limits: Sequence[Mapping[str, Any]] = (),
    hold_limit: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    perpetual: bool = False,
) -> LicenseDraft:
    """Check what a licence is to be; nothing is written. `perpetual` is one without an end whatever the plan's term.

    Raises Invalid.
    """
    plans = find_plans(book, plan, add_ons)
    begin, end = _lifetime(book.tenant, plans.base, starts_at, expires_at)
    if perpetual:
        end = None
    license = License(
        tenant=book.tenant,
        kind=fields.member(kind, "kind", LicenseKind),
        starts_at=begin,
        expires_at=end,
        rate_limits=fields.rate_limits(rate_limits, levels=LIMIT_LEVELS),
        hold_limit=fields.optional_integer(hold_limit, "hold_limit"),
        metadata=fields.metadata(metadata),
    )
    wanted = read_license_grants(plans.product, grants)
    license_key = None if license.kind == LicenseKind.SIGNED else set_new_key(license)
    return LicenseDraft(license, plans, wanted, license_key)


def store_drafts(tenant: Tenant, actor: Actor, drafts: Sequence[tuple[LicenseDraft, Customer]]) -> None:
    """Write licences with plans, grants, trail and events, in as many statements for a thousand as for one.

    Inside the caller's transaction, which holds the configuration lock.
    """
    if not drafts:
        return
    for draft, holder in drafts:
        draft.license.customer = holder
    License.objects.bulk_create(draft.license for draft, _ in drafts)
    LicensePlan.objects.bulk_create(row for draft, _ in drafts for row in carrying(draft.license, draft.plans))
    LicenseGrant.objects.bulk_create(row for draft, _ in drafts for row in _granting(draft))
    record_audits(tenant.id, actor, (_note(draft, holder) for draft, holder in drafts))
    emit_events(_issued(draft, holder) for draft, holder in drafts)
    bump_epochs(tenant.id, *(EpochKey(EpochKind.CUSTOMER, holder.id) for _, holder in drafts))


def find_plans(
    book: PlanBook, plan: PlanReference, add_ons: Sequence[PlanReference], *, carried: Sequence[Plan] = ()
) -> CarriedPlans:
    """Base plan and add-ons as they are named. What the licence carries already may be archived. Raises Invalid."""
    base = _unarchived(book, plan, "plan", carried)
    found: list[Plan] = []
    for place, reference in fields.items(add_ons, "add_ons", most=MAX_ADD_ONS):
        add_on = _unarchived(book, reference, place, carried)
        if add_on.product_id != base.product_id:
            detail = f"The plan {add_on.code} is of another product than {base.code}."
            raise Invalid.field(place, "other_product", detail)
        if add_on.id in {base.id, *(each.id for each in found)}:
            raise Invalid.field(place, "duplicate", f"The license carries the plan {add_on.code} already.")
        found.append(add_on)
    return CarriedPlans(base, tuple(found))


def carrying(license: License, plans: CarriedPlans) -> list[LicensePlan]:
    """The rows that say which plans a licence carries, the base plan first."""
    roles = [(plans.base, PlanRole.BASE), *((each, PlanRole.ADD_ON) for each in plans.add_ons)]
    return [LicensePlan(tenant_id=license.tenant_id, license=license, plan=plan, role=role) for plan, role in roles]


def check_order(begin: datetime, end: datetime | None) -> None:
    """Raise Invalid for a licence that would end before it begins."""
    if end is not None and end <= begin:
        raise Invalid.field("expires_at", "ends_before_start", "A license expires after it has started.")


def set_new_key(license: License) -> str:
    """Give a licence a key, of which it keeps the digest; the text, which is shown once."""
    minted = mint_license_key()
    license.key_digest = minted.digest
    license.key_pepper_id = minted.pepper_id
    license.key_hint = minted.last4
    return minted.text


def _unarchived(book: PlanBook, reference: PlanReference, field: str, carried: Sequence[Plan]) -> Plan:
    plan = book.find(reference, field)
    if plan.archived_at is not None and plan not in carried:
        raise Invalid.field(field, "archived", f"The plan {plan.code} is archived; no new license can carry it.")
    return plan


def _lifetime(
    tenant: Tenant, plan: Plan, starts_at: datetime | None, expires_at: datetime | None
) -> tuple[datetime, datetime | None]:
    begin = fields.optional_instant(starts_at, "starts_at")
    end = fields.optional_instant(expires_at, "expires_at")
    if begin is None:
        now = clock_of(tenant).now()
        begin = now if end is None else min(now, end)
    else:
        check_order(begin, end)
    if end is None and plan.term is not None:
        try:
            end = add_term(begin, Term(**plan.term), zone=ZoneInfo(tenant.timezone))
        except ValueError:
            detail = "The plan's term would end beyond the year 9999. Give an expiry."
            raise Invalid.field("starts_at", "invalid", detail) from None
    return begin, end


def _granting(draft: LicenseDraft) -> Iterable[LicenseGrant]:
    for grant in draft.grants:
        yield LicenseGrant(
            tenant_id=draft.license.tenant_id,
            license=draft.license,
            feature=grant.feature,
            value=grant.value,
            starts_at=grant.starts_at,
            expires_at=grant.expires_at,
        )


def _note(draft: LicenseDraft, holder: Customer) -> AuditNote:
    license, plans = draft.license, draft.plans
    return AuditNote(
        action="license.issued",
        target=license,
        changes={
            "customer": [None, holder.public_id],
            "plan": [None, plans.base.code],
            "add_ons": [None, [each.code for each in plans.add_ons]],
            "starts_at": [None, plain(license.starts_at)],
            "expires_at": [None, plain(license.expires_at)],
            "grants": [None, [grant.shown() for grant in draft.grants]],
        },
    )


def _issued(draft: LicenseDraft, holder: Customer) -> OutgoingEvent:
    license, plans = draft.license, draft.plans
    return OutgoingEvent(
        tenant_id=license.tenant_id,
        type="license.issued",
        subject=license.public_id,
        data={
            "license": license.public_id,
            "customer": holder.public_id,
            "plan": plans.base.public_id,
            "add_ons": [each.public_id for each in plans.add_ons],
            "product": plans.product.public_id,
            "kind": license.kind,
            "starts_at": plain(license.starts_at),
            "expires_at": plain(license.expires_at),
        },
    )
