"""Whose the events of an import are: agents and licences, read many at a time and kept as long as they are good."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from cachetools import LRUCache
from django.db.models import Q

from common.epochs import EpochKey
from common.ids import Prefix, decode_id
from licenses.models import Agent, License
from metering.domain.enums import Scope
from metering.domain.terms import Caller, QuotaTerms
from metering.models import Quota
from metering.selectors.bound import with_allowances
from metering.selectors.meter_terms import load_meters
from metering.selectors.quotas import customer_groups, license_groups, list_quotas
from metering.selectors.terms import Holder, bound_to_holder, by_meter, in_order
from tenants.domain.enums import EpochKind
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.selectors.epochs import read_epochs

#: A caller with its quotas takes a few kilobytes.
_KEPT: Final = 10_000
#: Read by one set of statements.
_AT_ONCE: Final = 1000

#: `agent` or `license`, and the id as it was written.
Owner = tuple[str, str]


class ImportCallers:
    """The callers of one workspace that an import has met; the least used are forgotten."""

    def __init__(self, tenant_id: UUID, *, kept: int = _KEPT) -> None:
        self._tenant_id = tenant_id
        self._known: LRUCache[Owner, Caller | None] = LRUCache(kept)

    def find(self, owners: Iterable[Owner]) -> dict[Owner, Caller | None]:
        """Those of a portion; None for who is nobody's here."""
        found: dict[Owner, Caller | None] = {}
        missing: list[Owner] = []
        for owner in set(owners):
            if owner in self._known:
                found[owner] = self._known[owner]
            else:
                missing.append(owner)
        for first in range(0, len(missing), _AT_ONCE):
            loaded = _load(self._tenant_id, missing[first : first + _AT_ONCE])
            self._known.update(loaded)
            found |= loaded
        return found

    def forget(self, behind: Sequence[Caller]) -> None:
        """Have these read anew."""
        stale = {id(caller) for caller in behind}
        for owner in [owner for owner, caller in self._known.items() if id(caller) in stale]:
            del self._known[owner]


class _Bound(NamedTuple):
    """Somebody on the way to a caller, with what its epochs were before anything else was read."""

    holder: Holder
    epochs: tuple[tuple[str, UUID, int], ...]


def _load(tenant_id: UUID, owners: Sequence[Owner]) -> dict[Owner, Caller | None]:
    """These callers, by the same rules as one by one, with a few statements for all and four for each licence.

    Without their limits on open holds: usage that is imported opens none.
    """
    paths = _paths(tenant_id, owners)
    holders = _holders(tenant_id, paths)
    if not holders:
        return dict.fromkeys(owners)
    tenant = Tenant.objects.get(id=tenant_id)
    timezone = ZoneInfo(tenant.timezone)
    meters = load_meters(tenant_id)
    quotas = _quotas(tenant, {owner: found.holder for owner, found in holders.items()})
    callers: dict[Owner, Caller | None] = dict.fromkeys(owners)
    for owner, (holder, epochs) in holders.items():
        callers[owner] = Caller(
            tenant_id=tenant_id,
            customer_id=holder.customer_id,
            license_id=holder.license_id,
            agent_id=holder.agent_path[-1] if holder.agent_path else None,
            agent_path=holder.agent_path,
            timezone=timezone,
            meters=meters,
            quotas=quotas[owner],
            epochs=epochs,
            quotas_of=by_meter(quotas[owner]),
        )
    return callers


def _paths(tenant_id: UUID, owners: Sequence[Owner]) -> dict[Owner, tuple[UUID, tuple[UUID, ...]]]:
    """The licence of each, and the agents from the topmost parent down; nobody's are missing."""
    asked: dict[str, dict[UUID, list[Owner]]] = {"agent": defaultdict(list), "license": defaultdict(list)}
    for owner in owners:
        kind, text = owner
        try:
            asked[kind][decode_id(Prefix.AGENT if kind == "agent" else Prefix.LICENSE, text)].append(owner)
        except ValueError:
            continue
    found: dict[Owner, tuple[UUID, tuple[UUID, ...]]] = {
        owner: (license_id, ()) for license_id, of_id in asked["license"].items() for owner in of_id
    }
    agents = Agent.objects.for_tenant(tenant_id).filter(id__in=asked["agent"])
    for agent_id, license_id, path in agents.values_list("id", "license_id", "path"):
        found.update(dict.fromkeys(asked["agent"][agent_id], (license_id, tuple(path))))
    return found


def _holders(tenant_id: UUID, paths: Mapping[Owner, tuple[UUID, tuple[UUID, ...]]]) -> dict[Owner, _Bound]:
    """With customers that were the same before the epochs were read and after."""
    licenses = License.objects.for_tenant(tenant_id)
    found: dict[Owner, _Bound] = {}
    left = dict(paths)
    while left:
        asked = licenses.filter(id__in={license_id for license_id, _ in left.values()})
        before = dict(asked.values_list("id", "customer_id"))
        left = {owner: whose for owner, whose in left.items() if whose[0] in before}
        keys = {owner: _epoch_keys(tenant_id, before[whose[0]], *whose) for owner, whose in left.items()}
        versions = read_epochs({tenant_id: list({key for of_owner in keys.values() for key in of_owner})})[tenant_id]
        rows = asked.values_list("id", "customer_id", "starts_at")
        after = {id: (customer_id, starts_at) for id, customer_id, starts_at in rows}
        moved = {}
        for owner, (license_id, path) in left.items():
            customer_id, starts_at = after[license_id]
            if customer_id != before[license_id]:
                moved[owner] = (license_id, path)
                continue
            epochs = tuple((key.kind, key.id, versions[key]) for key in keys[owner])
            found[owner] = _Bound(Holder(tenant_id, customer_id, license_id, starts_at, path), epochs)
        left = moved
    return found


def _epoch_keys(tenant_id: UUID, customer_id: UUID, license_id: UUID, path: tuple[UUID, ...]) -> tuple[EpochKey, ...]:
    return (
        EpochKey(EpochKind.TENANT, tenant_id),
        EpochKey(EpochKind.CUSTOMER, customer_id),
        EpochKey(EpochKind.LICENSE, license_id),
        *(EpochKey(EpochKind.AGENT, agent_id) for agent_id in path),
    )


def _quotas(tenant: Tenant, holders: Mapping[Owner, Holder]) -> dict[Owner, tuple[QuotaTerms, ...]]:
    of_license = {id: license_groups(tenant.id, id) for id in {holder.license_id for holder in holders.values()}}
    of_customer = {id: customer_groups(tenant.id, id) for id in {holder.customer_id for holder in holders.values()}}
    own = _own_quotas(tenant.id, holders.values())
    at = clock_of(tenant).now()
    plain: dict[Owner, tuple[QuotaTerms, ...]] = {}
    found: dict[Owner, tuple[QuotaTerms, ...]] = {}
    for owner, holder in holders.items():
        mine = {
            id: quota
            for subject_id in (tenant.id, holder.customer_id, holder.license_id, *holder.agent_path)
            for id, quota in own[subject_id].items()
        }
        quotas = bound_to_holder(
            holder,
            [
                *of_license[holder.license_id],
                *of_customer[holder.customer_id],
                *([quota] for quota in sorted(mine.values(), key=_by_age)),
            ],
        )
        if any(quota.carry_over is not None for quota in quotas):
            found[owner] = with_allowances(
                tenant.id, quotas, at=at, license_id=holder.license_id, starts_at=holder.starts_at
            )
        else:
            plain[owner] = quotas
    together = with_allowances(tenant.id, chain.from_iterable(plain.values()), at=at, license_id=None, starts_at=None)
    rest = iter(together)
    found |= {owner: tuple(islice(rest, len(quotas))) for owner, quotas in plain.items()}
    return {owner: in_order(quotas, holders[owner].agent_path) for owner, quotas in found.items()}


def _own_quotas(tenant_id: UUID, holders: Iterable[Holder]) -> Mapping[UUID, dict[UUID, Quota]]:
    """By the licence, customer, agent or tenant that they are set on, and by their ids."""
    licenses, customers, agents = set[UUID](), set[UUID](), set[UUID]()
    for holder in holders:
        licenses.add(holder.license_id)
        customers.add(holder.customer_id)
        agents.update(holder.agent_path)
    found: dict[UUID, dict[UUID, Quota]] = defaultdict(dict)
    for quota in list_quotas(tenant_id).filter(
        Q(license_id__in=licenses) | Q(customer_id__in=customers) | Q(agent_id__in=agents) | Q(scope=Scope.TENANT)
    ):
        for subject_id in (quota.license_id, quota.customer_id, quota.agent_id):
            if subject_id is not None:
                found[subject_id][quota.id] = quota
        if quota.scope == Scope.TENANT:
            found[tenant_id][quota.id] = quota
    return found


def _by_age(quota: Quota) -> tuple[datetime, UUID]:
    return quota.created_at, quota.id
