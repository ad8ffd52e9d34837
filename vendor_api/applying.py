"""Which quotas apply to an agent, a licence or a customer, and how they stand, as rows of a list."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from common.errors import Invalid
from common.ids import Prefix, encode_id
from licenses.models import Agent, License
from metering.domain.enums import Scope
from metering.models import Quota
from metering.selectors.applicable import QuotaStanding, quotas_applying
from tenants.models import Customer, Tenant
from vendor_api.filters.base import Query

_PREFIX_OF_SCOPE = {Scope.AGENT: Prefix.AGENT, Scope.LICENSE: Prefix.LICENSE, Scope.CUSTOMER: Prefix.CUSTOMER}


class StandingQuota:
    """A quota's own row with how it stands for one subject."""

    def __init__(self, quota: Quota, standing: QuotaStanding) -> None:
        self._quota = quota
        # An add-on's quota that counts the same is part of this one: its limit is in these terms, not in the row.
        self.limit = standing.terms.limit
        self.ceiling = standing.terms.ceiling
        scope = standing.terms.scope
        prefix = _PREFIX_OF_SCOPE.get(scope)
        self.subject = {scope.value: encode_id(prefix, standing.terms.subject_id) if prefix else True}
        self.used = standing.used
        self.held = standing.held
        self.top_ups = standing.top_ups
        self.remaining = standing.remaining
        self.state = standing.state.value
        self.resets_at = standing.resets_at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._quota, name)


def applying(tenant: Tenant, asked: Query, matching: QuerySet[Quota], *, at: datetime) -> list[StandingQuota] | None:
    """The quotas of `matching` that apply to what `asked` names; None if it names no agent, licence or customer.

    What does not exist, or is another workspace's, has no quotas. Raises Invalid where two are named.
    """
    named = {name: asked.value(name) for name in ("agent", "license", "customer") if asked.value(name) is not None}
    if not named:
        return None
    if len(named) > 1:
        second = list(named)[1]
        raise Invalid.field(second, "one_owner", "Ask for one of agent, license and customer.")
    [(name, value)] = named.items()
    subject = _subject(tenant, name, value)
    if subject is None:
        return []
    standings = quotas_applying(tenant, at=at, **{name: subject})
    rows = matching.in_bulk([standing.terms.id for standing in standings])
    return [StandingQuota(rows[each.terms.id], each) for each in standings if each.terms.id in rows]


def _subject(tenant: Tenant, name: str, value: UUID | str) -> Any:
    match name:
        case "agent":
            return Agent.objects.for_tenant(tenant).filter(pk=value).first()
        case "license":
            return License.objects.for_tenant(tenant).filter(pk=value).first()
    column = "pk" if isinstance(value, UUID) else "external_id"
    return Customer.objects.for_tenant(tenant).filter(**{column: value}).first()
