"""Notices that a licence is about to expire, each once for every expiry."""

from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, Func, OuterRef, Prefetch, Q

from common.clock import real_clock
from licenses.domain.enums import LicenseStatus, PlanRole
from licenses.domain.license_times import Term, notices_for
from licenses.models import License, LicensePlan, Plan
from licenses.selectors.licenses import carried_plans
from tenants.domain.actors import worker
from tenants.models import TenantQuerySet
from tenants.selectors.workspaces import clock_offset_of, moved_clocks
from tenants.services.auditing import record_audit
from tenants.services.changes import plain
from tenants.services.each_workspace import EachWorkspace, tenants_of
from tenants.services.outbox import OutgoingEvent, emit_events

CHUNK: Final = 500
ACTOR: Final = worker("tell_expiring_licenses")


def tell_expiring_licenses(now: datetime | None = None, *, tenant_id: UUID | None = None) -> int:
    """Emit `license.expiring` for licences that have come as near to their expiry as their base plan wants it told.

    How many notices were given. `now` is real time; what is near follows each workspace's clock; with `tenant_id`
    only this workspace is looked at. Of several notices
    that are due at once only the last is given, and none as long before the end as the plan's term lasts. Another
    expiry is told of anew; of a revoked licence nothing is told. Safe to run twice and in parallel: chunks are
    committed one by one, and rows that another run holds are left to it.
    """
    at = now or real_clock().now()
    if tenant_id is not None:
        theirs = at + clock_offset_of(tenant_id)
        return sum(_tell(License.objects.for_tenant(tenant_id), days, theirs) for days in _wanted())
    moved = dict(moved_clocks())
    told = 0
    # The nearest notice first: whoever is given it has no need of those before it.
    rest = License.objects.exclude(tenant_id__in=moved)
    each = EachWorkspace("tell_expiring_licenses")
    for days in _wanted():
        told += each.together(
            partial(_tell, rest, days, at),
            one=partial(_tell_one, days, at),
            concerned=partial(tenants_of, rest.filter(expires_at__gt=at, expires_at__lte=at + timedelta(days=days))),
        )
        for moved_id, offset in moved.items():
            with each.of(moved_id):
                told += _tell_one(days, at + offset, moved_id)
    each.tell()
    return told


def _tell_one(days: int, at: datetime, tenant_id: UUID) -> int:
    return _tell(License.objects.for_tenant(tenant_id), days, at)


def _wanted() -> list[int]:
    """All numbers of days that any plan asks for, the fewest first."""
    each = Func(F("expiry_notices"), function="unnest")
    return sorted(Plan.objects.order_by().values_list(each, flat=True).distinct())


def _tell(licenses: TenantQuerySet[License], days: int, at: datetime) -> int:
    base = LicensePlan.objects.filter(tenant_id=OuterRef("tenant_id"), license_id=OuterRef("pk"), role=PlanRole.BASE)
    due = licenses.filter(
        Exists(base.filter(plan__expiry_notices__contains=[days])),
        Q(expiring_noted_days__isnull=True) | Q(expiring_noted_days__gt=days),
        expires_at__gt=at,
        expires_at__lte=at + timedelta(days=days),
    ).exclude(status=LicenseStatus.REVOKED)
    carried = Prefetch("carried_plans", LicensePlan.objects.select_related("plan__product"))
    told = 0
    while True:
        with transaction.atomic():
            rows = due.select_related("customer").prefetch_related(carried).order_by("expires_at", "id")
            chunk = list(rows.select_for_update(of=("self",), no_key=True, skip_locked=True)[:CHUNK])
            told += _give(chunk, days)
        if len(chunk) < CHUNK:
            return told


def _give(chunk: list[License], days: int) -> int:
    """Tell of those for whose term the notice makes sense; of the others it is only noted that its time has come."""
    told = [license for license in chunk if _makes_sense(license, days)]
    for license in told:
        record_audit(
            tenant_id=license.tenant_id,
            actor=ACTOR,
            action="license.expiring",
            target=license,
            changes={"expiring_noted_days": [license.expiring_noted_days, days]},
        )
    emit_events(_expiring(license, days) for license in told)
    License.objects.filter(pk__in=[license.pk for license in chunk]).update(expiring_noted_days=days)
    return len(told)


def _makes_sense(license: License, days: int) -> bool:
    term = carried_plans(license).base.term
    return bool(notices_for(None if term is None else Term(**term), [days]))


def _expiring(license: License, days: int) -> OutgoingEvent:
    return OutgoingEvent(
        tenant_id=license.tenant_id,
        type="license.expiring",
        subject=license.public_id,
        data={
            "license": license.public_id,
            "customer": license.customer.public_id,
            "plan": carried_plans(license).base.public_id,
            "expires_at": plain(license.expires_at),
            "days": days,
        },
    )
