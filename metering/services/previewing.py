"""What an edit of a plan or a licence would do, before it is made: the edit is made, looked at and rolled back.

So a preview refuses what the edit would refuse, and neither is written down nor felt by anybody. Which licences a
plan's edit reaches is worked out after that, without a lock and in a number of queries that does not grow with them.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.contrib.postgres.aggregates import ArrayAgg
from django.db import transaction

from common.pagination import decode_cursor, encode_cursor
from licenses.domain.comparing import Effect
from licenses.domain.enums import LicenseStatus
from licenses.domain.facts import GrantFacts
from licenses.models import License, LicensePlan
from licenses.selectors.grant_facts import own_grant_facts, own_grants
from licenses.selectors.licenses import carried_plans
from metering.domain.previews import Change, Preview, QuotaName, Tally
from metering.selectors.promises import PlanTerms, differences, promise_of, terms_of_plans
from metering.services.license_plans import update_license_with_terms
from metering.services.plan_terms import update_plan_with_terms
from tenants.domain.actors import Actor
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services.changes import plain

_CHUNK = 2000

T = TypeVar("T")


def preview_plan(
    *, tenant: Tenant, plan_id: UUID, actor: Actor, limit: int = 50, cursor: str | None = None, **changes: Any
) -> Preview:
    """What `update_plan_with_terms` with these changes would do to the licences that carry the plan, as of now.

    Those that are revoked, archived or expired beyond their grace are left out. `limit` licences a page. Raises what
    the edit would raise, and Invalid for a cursor.
    """
    after_cursor = decode_cursor(cursor) if cursor else None
    neighbors = _neighbors(tenant, plan_id)
    before = terms_of_plans(tenant, neighbors)

    def edit() -> PlanTerms:
        update_plan_with_terms(tenant=tenant, plan_id=plan_id, actor=actor, **changes)
        return terms_of_plans(tenant, [plan_id])[plan_id]

    after = {**before, plan_id: _rolled_back(edit)}
    reach = _Reach(tenant, before, after, plan_id, clock_of(tenant).now())
    return _gathered(reach, limit=limit, after_cursor=after_cursor)


def preview_license(*, tenant: Tenant, license_id: UUID, actor: Actor, **changes: Any) -> Preview:
    """What `update_license_with_terms` with these changes would do to the licence. Raises what the edit would raise."""
    at = clock_of(tenant).now()

    def edit() -> tuple[Change, ...]:
        old = _standing(tenant, license_id)
        update_license_with_terms(tenant=tenant, license_id=license_id, actor=actor, **changes)
        new = _standing(tenant, license_id)
        terms = terms_of_plans(tenant, {*old.plan_ids, *new.plan_ids})
        promises = (_promise(each, terms, at) for each in (old, new))
        return (*differences(*promises), *_moved_times(old, new))

    found = _rolled_back(edit)
    if not found:
        return Preview(0)
    tallies = Counter((*change.subject, change.effect) for change in found)
    return Preview(1, _summary(tallies), {license_id: found})


class _Standing(NamedTuple):
    """A licence with what it carries: its plans' ids, the base first."""

    plan_ids: tuple[UUID, ...]
    own_grants: tuple[GrantFacts, ...]
    rate_limits: Sequence[Mapping[str, Any]]
    hold_limit: int | None
    starts_at: datetime
    expires_at: datetime | None


def _standing(tenant: Tenant, license_id: UUID) -> _Standing:
    license = License.objects.for_tenant(tenant).get_or_raise(license_id)
    carried = carried_plans(license)
    own = own_grants(tenant).filter(license=license)
    return _Standing(
        plan_ids=(carried.base.id, *(plan.id for plan in carried.add_ons)),
        own_grants=tuple(own_grant_facts(each) for each in own),
        rate_limits=license.rate_limits,
        hold_limit=license.hold_limit,
        starts_at=license.starts_at,
        expires_at=license.expires_at,
    )


def _promise(standing: _Standing, terms: Mapping[UUID, PlanTerms], at: datetime) -> Any:
    base, *add_ons = (terms[plan_id] for plan_id in standing.plan_ids)
    return promise_of(
        base,
        add_ons,
        at=at,
        own_grants=standing.own_grants,
        own_rate_limits=standing.rate_limits,
        own_hold_limit=standing.hold_limit,
    )


def _moved_times(old: _Standing, new: _Standing) -> Iterator[Change]:
    """An earlier end is a loss, a later start too; a licence without an end has the latest of all."""
    if old.expires_at != new.expires_at:
        longer = new.expires_at is None or (old.expires_at is not None and new.expires_at > old.expires_at)
        effect = Effect.GAINS if longer else Effect.LOSES
        yield Change(effect, plain(old.expires_at), plain(new.expires_at), limit="expires_at")
    if old.starts_at != new.starts_at:
        effect = Effect.LOSES if new.starts_at > old.starts_at else Effect.GAINS
        yield Change(effect, plain(old.starts_at), plain(new.starts_at), limit="starts_at")


class _Row(NamedTuple):
    """A licence that carries the plan; `plan_ids` with the base first."""

    id: UUID
    created_at: datetime
    expires_at: datetime | None
    rate_limits: Sequence[Mapping[str, Any]]
    hold_limit: int | None
    plan_ids: Sequence[UUID]


@dataclass(slots=True)
class _Reach:
    """An edit's consequences, worked out once for all licences with the same plans and nothing of their own."""

    tenant: Tenant
    before: Mapping[UUID, PlanTerms]
    after: Mapping[UUID, PlanTerms]
    plan_id: UUID
    at: datetime

    def changes(self) -> Iterator[tuple[_Row, tuple[Change, ...]]]:
        """Each licence that is affected with what changes for it, newest first."""
        own = self._own_grants()
        shared: dict[tuple[UUID, ...], tuple[Change, ...]] = {}
        for row in self._rows():
            if row.id in own or row.rate_limits or row.hold_limit is not None:
                found = self._differences(row, own.get(row.id, ()))
            else:
                plan_ids = tuple(row.plan_ids)
                if plan_ids not in shared:
                    shared[plan_ids] = self._differences(row, ())
                found = shared[plan_ids]
            if found:
                yield row, found

    def _differences(self, row: _Row, own: Sequence[GrantFacts]) -> tuple[Change, ...]:
        promises = []
        for terms in (self.before, self.after):
            base, *add_ons = (terms[plan_id] for plan_id in row.plan_ids)
            promises.append(
                promise_of(
                    base,
                    add_ons,
                    at=self.at,
                    own_grants=own,
                    own_rate_limits=row.rate_limits,
                    own_hold_limit=row.hold_limit,
                )
            )
        return differences(*promises)

    def _rows(self) -> Iterator[_Row]:
        carriers = LicensePlan.objects.for_tenant(self.tenant).filter(plan_id=self.plan_id).values("license_id")
        rows = (
            License.objects.for_tenant(self.tenant)
            .filter(id__in=carriers, archived_at__isnull=True)
            .exclude(status=LicenseStatus.REVOKED)
            .annotate(
                # "base" comes after "add_on", so descending puts it first.
                plan_ids=ArrayAgg(
                    "carried_plans__plan_id",
                    order_by=["-carried_plans__role", "carried_plans__created_at", "carried_plans__id"],
                )
            )
            .order_by("-created_at", "-id")
            .values_list("id", "created_at", "expires_at", "rate_limits", "hold_limit", "plan_ids")
        )
        for columns in rows.iterator(chunk_size=_CHUNK):
            row = _Row._make(columns)
            # Plans that came into use since the terms were read are not a matter of this edit's preview any more.
            if all(plan_id in self.before for plan_id in row.plan_ids) and self._lives(row):
                yield row

    def _lives(self, row: _Row) -> bool:
        if row.expires_at is None or row.expires_at > self.at:
            return True
        grace = max(terms[row.plan_ids[0]].plan.grace_days for terms in (self.before, self.after))
        return self.at - row.expires_at < timedelta(days=grace)

    def _own_grants(self) -> dict[UUID, list[GrantFacts]]:
        """Licences' own grants of the features that the edit touches; those of others change nothing."""
        old, new = (self._granted(terms[self.plan_id]) for terms in (self.before, self.after))
        touched = [code for code in old.keys() | new.keys() if old.get(code) != new.get(code)]
        carriers = LicensePlan.objects.for_tenant(self.tenant).filter(plan_id=self.plan_id).values("license_id")
        found: dict[UUID, list[GrantFacts]] = defaultdict(list)
        if touched:
            grants = own_grants(self.tenant).filter(license_id__in=carriers, feature__code__in=touched)
            for each in grants.iterator(chunk_size=_CHUNK):
                found[each.license_id].append(own_grant_facts(each))
        return found

    @staticmethod
    def _granted(terms: PlanTerms) -> dict[str, Any]:
        return {grant.feature: grant.value for grant in terms.grants}


def _gathered(reach: _Reach, *, limit: int, after_cursor: tuple[datetime, UUID] | None) -> Preview:
    """All licences counted, and the changes of one page of them."""
    affected = 0
    tallies: Counter[tuple[str | None, QuotaName | None, str | None, Effect]] = Counter()
    page: dict[UUID, tuple[Change, ...]] = {}
    last: _Row | None = None
    more = False
    for row, changes in reach.changes():
        affected += 1
        tallies.update((*change.subject, change.effect) for change in changes)
        if after_cursor is not None and (row.created_at, row.id) >= after_cursor:
            continue
        if len(page) < limit:
            page[row.id], last = changes, row
        else:
            more = True
    next_cursor = encode_cursor(last.created_at, last.id) if more and last is not None else None
    return Preview(affected, _summary(tallies), page, next_cursor)


def _summary(
    tallies: Counter[tuple[str | None, QuotaName | None, str | None, Effect]],
) -> tuple[Tally, ...]:
    """By how many licences each change is felt, the most first."""
    return tuple(
        Tally(*key, licenses) for key, licenses in sorted(tallies.items(), key=lambda item: (-item[1], str(item[0])))
    )


def _neighbors(tenant: Tenant, plan_id: UUID) -> set[UUID]:
    """The plan and all that are carried beside it."""
    carried = LicensePlan.objects.for_tenant(tenant)
    beside = carried.filter(license_id__in=carried.filter(plan_id=plan_id).values("license_id"))
    return {plan_id, *beside.values_list("plan_id", flat=True).distinct()}


def _rolled_back(edit: Callable[[], T]) -> T:
    """What `edit` finds, with nothing of what it did."""
    with transaction.atomic():
        found = edit()
        transaction.set_rollback(True)
    return found
