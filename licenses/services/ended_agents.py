"""Putting away agents that were spawned for a time, once that is over."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from common.clock import real_clock
from common.epochs import EpochKey
from licenses.domain.enums import AgentStatus
from licenses.models import Agent
from tenants.domain.actors import worker
from tenants.domain.enums import EpochKind
from tenants.models import TenantQuerySet
from tenants.selectors.workspaces import clock_offset_of, moved_clocks
from tenants.services.auditing import AuditNote, record_audits
from tenants.services.changes import plain
from tenants.services.each_workspace import EachWorkspace, tenants_of
from tenants.services.epochs import bump_epochs

CHUNK: Final = 500
ACTOR: Final = worker("archive_ended_agents")

#: An agent that has ended can still report what it used for so long; then its key is dead.
LAST_WORDS: Final = timedelta(minutes=1)


def archive_ended_agents(now: datetime | None = None, *, tenant_id: UUID | None = None) -> int:
    """Archive every spawned agent whose life ended a minute ago on its workspace's clock, with all below it; how many.

    `now` is real time; with `tenant_id` only this workspace is looked at. That an ended agent is refused and holds
    no place follows from the clock and needs no worker. Its usage stays, its keys are dead from now on. Agents that
    the vendor made are left to the vendor, unless they are below such a one. Safe to run twice and in parallel:
    chunks are committed one by one, and rows that another run or a change holds are left to the next.
    """
    at = now or real_clock().now()
    if tenant_id is not None:
        at += clock_offset_of(tenant_id)
        return _archive(_unarchived().for_tenant(tenant_id), at - LAST_WORDS, at)
    moved = dict(moved_clocks())
    rest = _unarchived().exclude(tenant_id__in=moved)
    each = EachWorkspace("archive_ended_agents")
    archived = each.together(
        lambda: _archive(rest, at - LAST_WORDS, at),
        one=lambda id: _archive(_unarchived().for_tenant(id), at - LAST_WORDS, at),
        concerned=lambda: tenants_of(rest.filter(Q(spawned=True, expires_at__lte=at - LAST_WORDS) | _below_ended)),
    )
    for moved_id, offset in moved.items():
        with each.of(moved_id):
            archived += _archive(_unarchived().for_tenant(moved_id), at + offset - LAST_WORDS, at + offset)
    each.tell()
    return archived


def _unarchived() -> TenantQuerySet[Agent]:
    return Agent.objects.filter(archived_at__isnull=True)


def _archive(agents: TenantQuerySet[Agent], ended_by: datetime, at: datetime) -> int:
    """`at` is the workspace's time; half-open: at its very end an agent has ended."""
    archived = _drain(agents.filter(spawned=True, expires_at__lte=ended_by), at)
    while below := _drain(agents.filter(_below_ended), at):
        archived += below
    return archived


#: What a vendor archives is revoked; what the clock has ended is not.
_below_ended: Final = Q(parent__archived_at__isnull=False, parent__spawned=True) & ~Q(
    parent__status=AgentStatus.REVOKED
)


def _drain(due: TenantQuerySet[Agent], at: datetime) -> int:
    archived = 0
    while True:
        with transaction.atomic():
            chunk = list(due.order_by("id").select_for_update(of=("self",), no_key=True, skip_locked=True)[:CHUNK])
            Agent.objects.filter(pk__in=[agent.pk for agent in chunk]).update(
                archived_at=at, updated_at=real_clock().now()
            )
            for tenant_id in sorted({agent.tenant_id for agent in chunk}):
                _tell([agent for agent in chunk if agent.tenant_id == tenant_id], at)
        archived += len(chunk)
        if len(chunk) < CHUNK:
            return archived


def _tell(agents: Sequence[Agent], at: datetime) -> None:
    """The audit entries of one workspace's agents, and their epochs: their keys are dead now."""
    tenant_id = agents[0].tenant_id
    changes = {"archived_at": [None, plain(at)]}
    record_audits(
        tenant_id, ACTOR, [AuditNote("agent.archived", agent, changes, "Its life was over.") for agent in agents]
    )
    bump_epochs(tenant_id, *(EpochKey(EpochKind.AGENT, agent.pk) for agent in agents))
