"""What periods carry over, held against what the periods before them left.

What a period began with follows from the figures of the period before and from the limit that the quota had then. The
limits and the most that a quota ever had are those in the audit trail, so a limit that was changed later proves nothing
wrong; and what nobody can work out any more is not doubted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import islice, product
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connection

from common.ids import Prefix, encode_id
from metering.domain.allowances import brought_over, carried_of
from metering.domain.enums import Anchor, Period
from metering.domain.numbers import ZERO
from metering.domain.periods import period_window, windows_between
from metering.models import Quota
from tenants.models import AuditEntry

#: Periods that were skipped between two balances, at most; farther apart nothing is worked out.
_MOST_SKIPPED = 1000

# The last balance before each that began with something; those of one quota and subject stand in the order of time.
_CHAINS = """
SELECT * FROM (
    SELECT id, tenant_id, quota_key, subject_id, period, period_start, period_end, brought, carried, burned, used,
           closed_at, updated_at, detached_at, lag(id) OVER chain AS before
    FROM metering_balance
    WHERE {tenant} AND (tenant_id, quota_key) IN (
        SELECT tenant_id, quota_key FROM metering_balance WHERE brought IS NOT NULL AND {tenant})
    WINDOW chain AS (PARTITION BY tenant_id, quota_key, subject_id ORDER BY period_start)
) AS chains
ORDER BY tenant_id, quota_key, subject_id, period_start
"""


class CarriedProof(NamedTuple):
    """A balance that began with something else than was left; `right` is (brought, carried) where that is certain."""

    id: UUID
    tenant_id: UUID
    period_start: datetime
    brought: Decimal
    carried: Decimal
    sought: tuple[Decimal, ...]
    right: tuple[Decimal, Decimal] | None


class _Link(NamedTuple):
    id: UUID
    tenant_id: UUID
    quota_key: UUID
    subject_id: UUID
    period: str
    start: datetime
    end: datetime | None
    brought: Decimal | None
    carried: Decimal
    burned: Decimal
    used: Decimal
    closed_at: datetime | None
    updated_at: datetime
    detached_at: datetime | None
    before: UUID | None


@dataclass(slots=True)
class _Terms:
    """What a quota's limit and most have been. `alone`: nothing else adds to the limit. `most` None: all of it."""

    limits: set[Decimal] = field(default_factory=set)
    mosts: set[Decimal | None] = field(default_factory=set)
    since: datetime | None = None
    calendar: bool = True
    alone: bool = True
    timezone: str = "UTC"


def differing_carried(tenants: Sequence[UUID] | None) -> Iterator[CarriedProof]:
    """Balances whose `brought` or `carried` does not follow from the balance before, of all workspaces or of some."""
    condition = "tenant_id IS NOT NULL" if tenants is None else "tenant_id = ANY(%(tenants)s::uuid[])"
    terms: dict[tuple[UUID, UUID, UUID], _Terms] = {}
    with connection.chunked_cursor() as cursor:
        cursor.execute(_CHAINS.replace("{tenant}", condition), {"tenants": list(tenants or ())})
        last: _Link | None = None
        while rows := cursor.fetchmany(2000):
            for row in rows:
                link = _Link._make(row)
                if link.brought is not None:
                    owner = (link.tenant_id, link.quota_key, link.subject_id)
                    if owner not in terms:
                        terms = {owner: _terms_of(*owner)}
                    found = _compare(link, last if last and last.id == link.before else None, terms[owner])
                    if found is not None:
                        yield found
                        # What follows is held against what this one should have, so that one fault is told once.
                        if found.right is None:
                            last = None
                            continue
                        link = link._replace(brought=found.right[0], carried=found.right[1])
                last = link


def _terms_of(tenant_id: UUID, key: UUID, subject_id: UUID) -> _Terms:
    """Everything that the quotas of this key and subject have said."""
    terms = _Terms()
    quotas = [
        quota
        for quota in Quota.objects.for_tenant(tenant_id).filter(key=key).select_related("tenant")
        if quota.plan_id or (quota.license_id or quota.customer_id or quota.agent_id or quota.tenant_id) == subject_id
    ]
    for quota in quotas:
        terms.limits.add(quota.limit)
        terms.mosts.add(quota.carry_over_limit if quota.carry_over else ZERO)
        terms.calendar = quota.anchor == Anchor.CALENDAR
        terms.timezone = quota.tenant.timezone
        if quota.carry_over_since is not None:
            terms.since = max(quota.carry_over_since, terms.since or quota.carry_over_since)
        terms.alone = terms.alone and not _counted_alike(quota)
    named = [encode_id(Prefix.QUOTA, quota.id) for quota in quotas]
    for changes in AuditEntry.objects.filter(
        tenant_id=tenant_id, target_id__in=named, action="quota.updated"
    ).values_list("changes", flat=True):
        terms.limits |= {Decimal(value) for value in changes.get("limit", ()) if value is not None}
        if "carry_over" in changes or "carry_over_limit" in changes:
            terms.mosts |= {ZERO, None}
            terms.mosts |= {None if value is None else Decimal(value) for value in changes.get("carry_over_limit", ())}
    return terms


def _counted_alike(quota: Quota) -> bool:
    """Whether another plan's quota counts the same: a licence with both has the sum of their limits."""
    alike = Quota.objects.for_tenant(quota.tenant_id).filter(
        meter_id=quota.meter_id, scope=quota.scope, period=quota.period, filter=quota.filter
    )
    return alike.exclude(key=quota.key).exists()


def _compare(link: _Link, before: _Link | None, terms: _Terms) -> CarriedProof | None:
    brought = link.brought if link.brought is not None else ZERO
    found = _left(link, before, terms) or {brought}
    if brought not in found:
        sought = found
    else:
        found, sought = {brought}, {carried_of(brought, most) for most in terms.mosts}
        if not sought or link.carried in sought:
            return None
    pairs = {(left, carried_of(left, most)) for left in found for most in terms.mosts}
    right = pairs.pop() if len(pairs) == 1 else None
    return CarriedProof(link.id, link.tenant_id, link.start, brought, link.carried, tuple(sorted(sought)), right)


def _left(link: _Link, before: _Link | None, terms: _Terms) -> set[Decimal] | None:
    """All that the period before may have left; None where that cannot be told any more."""
    if not terms.alone or not terms.limits or terms.since is None or ZERO in terms.mosts:
        return None
    if before is None:
        return _left_at_first(link, terms, terms.since)
    if before.end is None or before.end <= terms.since or before.detached_at is not None:
        return None
    if link.closed_at is not None and before.updated_at > link.closed_at:
        return None  # A closed period keeps what it was given, also where something before it is taken back.
    figures = (before.used, before.carried, before.burned)
    if before.end == link.start:
        return {brought_over(limit=limit, most=None, before=figures, unused=0) for limit in terms.limits}
    unused = _unused(link, before.end, terms) if terms.calendar and len(terms.limits) == 1 else None
    if unused is None:
        return None
    return {
        brought_over(limit=limit, most=most, before=figures, unused=unused)
        for limit, most in product(terms.limits, terms.mosts)
    }


def _left_at_first(link: _Link, terms: _Terms, since: datetime) -> set[Decimal] | None:
    """Nothing is left before carrying over began; what a period without a balance left nobody has written down."""
    if link.before is not None or not terms.calendar:
        return None
    first = period_window(Period(link.period), at=since, timezone=ZoneInfo(terms.timezone)).start
    return {ZERO} if first >= link.start else None


def _unused(link: _Link, first: datetime, terms: _Terms) -> int | None:
    """How many periods there are from `first` to this one; None for too many."""
    zone = ZoneInfo(terms.timezone)
    windows = windows_between(Period(link.period), start=first, end=link.start, timezone=zone)
    unused = sum(1 for _ in islice(windows, _MOST_SKIPPED + 1))
    return unused if unused <= _MOST_SKIPPED else None
