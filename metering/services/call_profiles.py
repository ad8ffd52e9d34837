"""Agents' pasts: their busiest minutes by hour, kept for a week, from the counters that live for two hours."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction
from redis.exceptions import RedisError

from common.clock import real_clock
from licenses.models import Agent
from licenses.services.call_counts import read_call_counts
from metering.domain.runaway import PROFILE_HOURS, RunawayRule
from metering.models import CallProfile
from metering.selectors.runaway import Policies, all_policies
from tenants.models import Tenant
from tenants.services.each_workspace import EachWorkspace

#: Minutes that are looked at each time: more than an hour, so that one that a worker missed is made up for.
_MINUTES: Final = 70
_AT_ONCE: Final = 500


def profile_calls(*, now: datetime | None = None) -> int:
    """Note the busiest minute of each hour of every agent in workspaces that compare agents with their past.

    Looking again changes nothing. While Valkey is away nothing is noted. How many profiles were written.
    Raises WorkspacesFailedError once all others are noted.
    """
    now = now or real_clock().now()
    written = 0
    each = EachWorkspace("profile_calls")
    for policies in all_policies():
        with each.of(policies.tenant.pk):
            if _compares(policies):
                written += _profile_tenant(policies.tenant, int(now.timestamp()) // 60)
    each.tell()
    return written


def _compares(policies: Policies) -> bool:
    return any(rule.kind is RunawayRule.BASELINE_MULTIPLE for rule in policies.rules())


def _profile_tenant(tenant: Tenant, minute: int) -> int:
    # The present minute is not over.
    minutes = range(minute - _MINUTES, minute)
    try:
        counts = read_call_counts(tenant.pk, list(minutes))
    except RedisError:
        return 0
    peaks: dict[UUID, dict[int, int]] = {}
    for at, by_agent in zip(minutes, counts, strict=True):
        for agent_id, count in by_agent.items():
            mine = peaks.setdefault(agent_id, {})
            mine[at // 60] = max(mine.get(at // 60, 0), count.calls)
    agent_ids = sorted(peaks)
    known = set(Agent.objects.for_tenant(tenant).filter(pk__in=agent_ids).values_list("pk", flat=True))
    ids = [agent_id for agent_id in agent_ids if agent_id in known]
    return sum(
        _write(tenant, {agent_id: peaks[agent_id] for agent_id in ids[start : start + _AT_ONCE]}, minute // 60)
        for start in range(0, len(ids), _AT_ONCE)
    )


def _write(tenant: Tenant, peaks: Mapping[UUID, Mapping[int, int]], hour: int) -> int:
    with transaction.atomic():
        CallProfile.objects.bulk_create(
            [CallProfile(agent_id=agent_id, tenant=tenant, first_hour=min(mine)) for agent_id, mine in peaks.items()],
            ignore_conflicts=True,
        )
        mine = CallProfile.objects.for_tenant(tenant).filter(agent_id__in=peaks)
        changed = []
        for profile in mine.order_by("agent_id").select_for_update():
            merged = {int(at): peak for at, peak in profile.peaks.items() if int(at) >= hour - PROFILE_HOURS}
            for at, peak in peaks[profile.agent_id].items():
                merged[at] = max(merged.get(at, 0), peak)
            stored = {str(at): peak for at, peak in sorted(merged.items())}
            if stored != profile.peaks:
                profile.peaks = stored
                changed.append(profile)
        CallProfile.objects.bulk_update(changed, ["peaks"], batch_size=_AT_ONCE)
    return len(changed)
