"""Facts for tests: everything holds unless a test says otherwise."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from licenses.domain.enums import AgentStatus, FeatureKind, GrantSource, LicenseStatus
from licenses.domain.facts import (
    AccessFacts,
    AgentFacts,
    CustomerFacts,
    FeatureValue,
    GrantFacts,
    LicenseFacts,
    TenantFacts,
)
from tenants.domain.enums import CustomerStatus, TenantStatus

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def make_license(**changes: Any) -> LicenseFacts:
    facts: dict[str, Any] = {
        "id": UUID(int=3),
        "status": LicenseStatus.ACTIVE,
        "starts_at": NOW - DAY,
        "expires_at": None,
    }
    return LicenseFacts(**(facts | changes))


def make_agent(number: int = 10, **changes: Any) -> AgentFacts:
    facts: dict[str, Any] = {"id": UUID(int=number), "name": f"agent-{number}", "status": AgentStatus.ACTIVE}
    return AgentFacts(**(facts | changes))


def make_facts(
    *,
    tenant: TenantStatus = TenantStatus.ACTIVE,
    customer: CustomerStatus = CustomerStatus.ACTIVE,
    license: LicenseFacts | None = None,
    agents: Sequence[AgentFacts] | None = None,
    grants: Sequence[GrantFacts] = (),
    **changes: Any,
) -> AccessFacts:
    return AccessFacts(
        tenant=TenantFacts(UUID(int=1), tenant),
        customer=CustomerFacts(UUID(int=2), customer, "acme"),
        license=license or make_license(),
        agents=tuple([make_agent()] if agents is None else agents),
        grants=tuple(grants),
        **({"product_code": "researcher", "plan_code": "pro"} | changes),
    )


def grant(
    feature: str,
    value: FeatureValue,
    source: GrantSource = GrantSource.PLAN,
    *,
    starts_at: datetime | None = None,
    expires_at: datetime | None = None,
) -> GrantFacts:
    if isinstance(value, bool):
        kind = FeatureKind.SWITCH
    else:
        kind = FeatureKind.CHOICE if isinstance(value, frozenset) else FeatureKind.LIMIT
    return GrantFacts(feature, kind, value, source, starts_at, expires_at)
