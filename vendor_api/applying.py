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
from vendor_api.serializers.base import Beside

_PREFIX_OF_SCOPE = {Scope.AGENT: Prefix.AGENT, Scope.LICENSE: Prefix.LICENSE, Scope.CUSTOMER: Prefix.CUSTOMER}


def applying(tenant: Tenant, asked: Query, matching: QuerySet[Quota], *, at: datetime) -> list[Beside] | None:
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
    return [_standing(rows[each.terms.id], each) for each in standings if each.terms.id in rows]


def _standing(quota: Quota, standing: QuotaStanding) -> Beside:
    """A quota's row with how it stands for one subject."""
    terms = standing.terms
    prefix = _PREFIX_OF_SCOPE.get(terms.scope)
    return Beside(
        quota,
        # An add-on's quota that counts the same is part of this one: its limit is in these terms, not in the row.
        limit=terms.limit,
        ceiling=terms.ceiling,
        subject={terms.scope.value: encode_id(prefix, terms.subject_id) if prefix else True},
        used=standing.used,
        held=standing.held,
        top_ups=standing.top_ups,
        carried_over=standing.carried_over,
        remaining=standing.remaining,
        state=standing.state.value,
        resets_at=standing.resets_at,
    )


def _subject(tenant: Tenant, name: str, value: UUID | str) -> Any:
    match name:
        case "agent":
            return Agent.objects.for_tenant(tenant).filter(pk=value).first()
        case "license":
            return License.objects.for_tenant(tenant).filter(pk=value).first()
    column = "pk" if isinstance(value, UUID) else "external_id"
    return Customer.objects.for_tenant(tenant).filter(**{column: value}).first()
