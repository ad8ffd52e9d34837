"""The licence decision as a pure function, on one core: how many a second, beside the number that it shall reach."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from benchmarks.report import interleaved, line
from benchmarks.stack import BenchStack
from licenses.domain.decision import decide_license
from licenses.domain.enums import AgentStatus, FeatureKind, GrantSource, LicenseStatus
from licenses.domain.facts import AccessFacts, AgentFacts, CustomerFacts, GrantFacts, LicenseFacts, TenantFacts
from tenants.domain.enums import CustomerStatus, TenantStatus

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DECISIONS = 100_000
GOAL = 100_000


def run(_stack: BenchStack) -> Iterator[dict[str, Any]]:
    """A child agent that asks for a model of a choice, and one that asks for nothing in particular."""
    facts = _facts()
    asking, plain = interleaved(lambda: _rate(facts, feature_value=("models", "large")), lambda: _rate(facts))
    yield line("decide_license_per_second", asking, "decisions/s", "the goal, on one core", GOAL)
    yield line("decide_license_without_features_per_second", plain, "decisions/s", "the goal, on one core", GOAL)


def _rate(facts: AccessFacts, **asked: Any) -> float:
    """By the time that this process had on its core, whatever else runs here."""
    began = time.process_time()
    for _ in range(DECISIONS):
        decide_license(facts, at=NOW, **asked)
    return DECISIONS / (time.process_time() - began)


def _facts() -> AccessFacts:
    """A licence of a plan with an add-on and an override, and an agent two levels below it."""
    parent, agent = (
        AgentFacts(
            UUID(int=number), f"agent-{number}", AgentStatus.ACTIVE, features=frozenset({"models", "web_search"})
        )
        for number in (10, 11)
    )
    return AccessFacts(
        tenant=TenantFacts(UUID(int=1), TenantStatus.ACTIVE),
        customer=CustomerFacts(UUID(int=2), CustomerStatus.ACTIVE, "acme"),
        license=LicenseFacts(
            id=UUID(int=3),
            status=LicenseStatus.ACTIVE,
            starts_at=NOW - timedelta(days=30),
            expires_at=NOW + timedelta(days=335),
            grace=timedelta(days=7),
        ),
        agents=(agent, parent),
        grants=(
            GrantFacts("models", FeatureKind.CHOICE, frozenset({"small", "large"}), GrantSource.PLAN),
            GrantFacts("web_search", FeatureKind.SWITCH, True, GrantSource.PLAN),
            GrantFacts("max_tools", FeatureKind.LIMIT, 20, GrantSource.PLAN),
            GrantFacts("max_tools", FeatureKind.LIMIT, 5, GrantSource.ADD_ON),
            GrantFacts("max_tools", FeatureKind.LIMIT, 99, GrantSource.LICENSE),
        ),
        product_code="researcher",
        plan_code="pro",
    )
