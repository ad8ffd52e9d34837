"""Quotas bound to a subject: what several rows that count the same come to, and what is beside their limit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from django.db.models import F, Q

from licenses.models import Agent, LicensePlan
from metering.domain.enums import Aggregation, Anchor, Period, QuotaMode, Scope
from metering.domain.numbers import EXACT, ZERO, sum_exact
from metering.domain.terms import CarryOver, QuotaTerms
from metering.models import Quota, TopUp
from tenants.models import Customer, Tenant
from tenants.selectors.clocks import workspace_time_of


def bound(group: Sequence[Quota], subject_id: UUID, *, anchored_at: datetime | None) -> QuotaTerms:
    """The first of a group with a subject; the others add their limits to its. `anchored_at`: the licence's start."""
    quota, *more = group
    added = sum_exact(each.limit for each in more)
    return QuotaTerms(
        id=quota.id,
        key=quota.key,
        scope=Scope(quota.scope),
        subject_id=subject_id,
        meter_id=quota.meter_id,
        meter_code=quota.meter.code,
        mode=QuotaMode(quota.mode),
        limit=EXACT.add(quota.limit, added),
        period=Period(quota.period),
        ceiling=None if quota.ceiling is None else EXACT.add(quota.ceiling, added),
        filter=quota.filter,
        anchor=Anchor(quota.anchor),
        anchored_at=anchored_at if quota.anchor == Anchor.LICENSE else None,
        thresholds=tuple(quota.thresholds),
        plan_id=quota.plan_id,
        aggregation=Aggregation(quota.meter.aggregation),
        value_from=quota.meter.value_from,
        rolling_seconds=quota.rolling_seconds,
        carry_over=_carry_over(quota),
        taken_at=quota.taken_at,
    )


def with_allowances(
    tenant_id: UUID, quotas: Iterable[QuotaTerms], *, at: datetime, license_id: UUID | None, starts_at: datetime | None
) -> tuple[QuotaTerms, ...]:
    """The same quotas with what few have: whether there are top-ups at `at`, and since when each carries over."""
    found = tuple(quotas)
    if not found:
        return found
    topped_up = _topped_up(tenant_id, found, at)
    since = _since(tenant_id, found, license_id=license_id, starts_at=starts_at)
    if not topped_up and not since:
        return found
    return tuple(
        replace(
            quota,
            topped_up=(quota.key, quota.subject_id) in topped_up,
            carry_over=quota.carry_over
            and replace(quota.carry_over, since=since.get((quota.key, quota.subject_id), quota.carry_over.since)),
        )
        for quota in found
    )


def _carry_over(quota: Quota) -> CarryOver | None:
    """A quota that no longer carries over passes nothing on from now on; what a period was given it keeps."""
    if quota.carry_over_since is None:
        return None
    return CarryOver(quota.carry_over_limit if quota.carry_over else ZERO, quota.carry_over_since)


def _topped_up(tenant_id: UUID, quotas: Sequence[QuotaTerms], at: datetime) -> set[tuple[UUID, UUID]]:
    live = TopUp.objects.for_tenant(tenant_id).filter(
        Q(expires_at__isnull=True) | Q(expires_at__gt=at),
        quota_key__in={quota.key for quota in quotas},
        subject_id__in={quota.subject_id for quota in quotas},
        voided_at__isnull=True,
        used__lt=F("amount"),
    )
    return set(live.values_list("quota_key", "subject_id"))


def _since(
    tenant_id: UUID, quotas: Sequence[QuotaTerms], *, license_id: UUID | None, starts_at: datetime | None
) -> Mapping[tuple[UUID, UUID], datetime]:
    """Nothing is left over from before the subject was there, or the licence had the plan."""
    carrying = [quota for quota in quotas if quota.carry_over is not None]
    if not carrying:
        return {}
    tenant = Tenant.objects.get(id=tenant_id)
    begun: dict[UUID, datetime] = {tenant.id: tenant.created_at}
    ids = {quota.subject_id for quota in carrying}
    for rows in (Agent.objects.for_tenant(tenant_id), Customer.objects.for_tenant(tenant_id)):
        begun |= dict(rows.filter(id__in=ids).values_list("id", "created_at"))
    plans = dict(
        LicensePlan.objects.for_tenant(tenant_id).filter(license_id=license_id).values_list("plan_id", "created_at")
        if license_id is not None
        else ()
    )
    # Rows are made in real time, periods are the workspace's.
    shown = workspace_time_of(tenant)
    begun, plans = ({id: shown(made) for id, made in each.items()} for each in (begun, plans))
    since = {}
    for quota in carrying:
        moments = [quota.carry_over.since if quota.carry_over else None, begun.get(quota.subject_id)]
        if quota.scope in (Scope.LICENSE, Scope.AGENT):
            moments += [starts_at, plans.get(quota.plan_id) if quota.plan_id else None]
        since[quota.key, quota.subject_id] = max(moment for moment in moments if moment is not None)
    return since
