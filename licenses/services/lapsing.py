"""Making known which leases of activations have ended, once each."""

from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction

from common.clock import real_clock
from licenses.models import Activation
from licenses.services.activations import tell_lapsed
from tenants.domain.actors import worker
from tenants.models import TenantQuerySet
from tenants.selectors.workspaces import clock_offset_of, moved_clocks
from tenants.services.each_workspace import EachWorkspace, tenants_of
from tenants.services.outbox import emit_events

CHUNK: Final = 500
ACTOR: Final = worker("lapse_activations")


def lapse_activations(now: datetime | None = None, *, tenant_id: UUID | None = None) -> int:
    """Note every activation whose lease has ended on its workspace's clock, and emit `activation.lapsed`; how many.

    `now` is real time; with `tenant_id` only this workspace is looked at. That a lapsed activation holds no place
    follows from the clock and needs no worker; this tells of it. Safe to run twice and in parallel: chunks are
    committed one by one, and rows that another run or a heartbeat holds are left to it.
    """
    at = now or real_clock().now()
    if tenant_id is not None:
        return _note(_unnoted().for_tenant(tenant_id), at, until=at + clock_offset_of(tenant_id))
    moved = dict(moved_clocks())
    passed = _unnoted().exclude(tenant_id__in=moved)
    each = EachWorkspace("lapse_activations")
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


def _unnoted() -> TenantQuerySet[Activation]:
    return Activation.objects.filter(lapse_noted_at__isnull=True, released_at__isnull=True, expires_at__isnull=False)


def _note(activations: TenantQuerySet[Activation], at: datetime, *, until: datetime) -> int:
    noted = 0
    while True:
        with transaction.atomic():
            due = activations.filter(expires_at__lte=until).select_related("license").order_by("expires_at", "id")
            chunk = list(due.select_for_update(of=("self",), no_key=True, skip_locked=True)[:CHUNK])
            emit_events([tell_lapsed(each, ACTOR, at) for each in chunk])
            Activation.objects.filter(pk__in=[each.pk for each in chunk]).update(lapse_noted_at=at)
        noted += len(chunk)
        if len(chunk) < CHUNK:
            return noted
