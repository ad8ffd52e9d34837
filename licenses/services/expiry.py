"""Making expiries known, once each."""

from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction

from common.clock import real_clock
from licenses.domain.enums import LicenseStatus
from licenses.models import License
from tenants.domain.actors import worker
from tenants.models import TenantQuerySet
from tenants.selectors.workspaces import clock_offset_of, moved_clocks
from tenants.services.auditing import record_audit
from tenants.services.changes import plain
from tenants.services.each_workspace import EachWorkspace, tenants_of
from tenants.services.outbox import OutgoingEvent, emit_events

CHUNK: Final = 500
ACTOR: Final = worker("expire_licenses")


def expire_licenses(now: datetime | None = None, *, tenant_id: UUID | None = None) -> int:
    """Note every licence whose expiry has passed on its workspace's clock, and emit `license.expired`; how many.

    `now` is real time; with `tenant_id` only this workspace is looked at. That an expired licence no longer holds
    follows from the clock and needs no worker; this tells of it. Grace does not put it off. A revoked licence is
    noted without a word. Safe to run twice and in parallel: chunks are committed one by one, and rows that another
    run holds are left to it.
    """
    at = now or real_clock().now()
    if tenant_id is not None:
        return _note(_unnoted().for_tenant(tenant_id), at, until=at + clock_offset_of(tenant_id))
    moved = dict(moved_clocks())
    passed = _unnoted().exclude(tenant_id__in=moved)
    each = EachWorkspace("expire_licenses")
    noted = each.together(
        lambda: _note(passed, at, until=at),
        one=lambda id: _note(_unnoted().for_tenant(id), at, until=at),
        concerned=lambda: tenants_of(passed.filter(expires_at__lte=at)),
    )
    for moved_id, offset in moved.items():
        with each.of(moved_id):
            noted += _note(_unnoted().for_tenant(moved_id), at, until=at + offset)
    each.tell()
    return noted


def _unnoted() -> TenantQuerySet[License]:
    return License.objects.filter(expired_noted_at__isnull=True, expires_at__isnull=False)


def _note(licenses: TenantQuerySet[License], at: datetime, *, until: datetime) -> int:
    """A chunk at a time, soonest expiry first. Half-open: at its very expiry a licence has expired."""
    noted = 0
    while True:
        with transaction.atomic():
            due = licenses.filter(expires_at__lte=until).select_related("customer")
            chunk = list(
                due.order_by("expires_at", "id").select_for_update(of=("self",), no_key=True, skip_locked=True)[:CHUNK]
            )
            told = [license for license in chunk if license.status != LicenseStatus.REVOKED]
            for license in told:
                record_audit(
                    tenant_id=license.tenant_id,
                    actor=ACTOR,
                    action="license.expired",
                    target=license,
                    changes={"expired_noted_at": [None, plain(at)]},
                )
            emit_events(_expired(license) for license in told)
            License.objects.filter(pk__in=[license.pk for license in chunk]).update(expired_noted_at=at)
        noted += len(told)
        if len(chunk) < CHUNK:
            return noted


def _expired(license: License) -> OutgoingEvent:
    return OutgoingEvent(
        tenant_id=license.tenant_id,
        type="license.expired",
        subject=license.public_id,
        data={
            "license": license.public_id,
            "customer": license.customer.public_id,
            "expires_at": plain(license.expires_at),
        },
    )
