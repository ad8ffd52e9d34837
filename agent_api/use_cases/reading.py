"""Who am I, what is left, what did I use."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from agent_api.use_cases.answering import Answer
from agent_api.use_cases.callers import Credentials, KnownCaller
from agent_api.use_cases.holding import admit, rate_fields_on_problems
from agent_api.wire.answers import QuotaList, SelfAnswer, TenantBody, UsageReportBody, UsageRowBody
from agent_api.wire.shapes import (
    agent_body,
    customer_body,
    license_body,
    public_id,
    quota_bodies,
    quota_warnings,
    rate_limit_bodies,
    reason_bodies,
)
from common.ids import Prefix
from common.quantities import format_quantity
from licenses.domain.decision import decide_license
from metering.selectors.meters import resolve_meter
from metering.selectors.quota_statuses import Asked, statuses_of
from metering.selectors.usage import UsageQuery, UsageWindow, query_usage


@dataclass(frozen=True, slots=True)
class UsageQuestion:
    """What a caller wants to know of its own usage, and of that of the agents below it."""

    meter: str
    start: datetime
    end: datetime | None = None
    window: UsageWindow | None = None
    group_by: tuple[str, ...] = ()
    timezone: ZoneInfo | None = None
    filter: Mapping[str, str] = field(default_factory=dict)
    top: int | None = None


def read_self(credentials: Credentials) -> Answer[SelfAnswer]:
    """Everything that holds for the caller now."""
    admission = admit(credentials, _now)
    access, asked = admission.known.access, admission.plan
    facts, at = access.facts, asked.at
    [statuses] = statuses_of([asked])
    decision = decide_license(facts, at=at)
    term = admission.known.term(at)
    body = SelfAnswer(
        agent=agent_body(facts, at),
        license=license_body(facts, at),
        customer=customer_body(facts),
        tenant=TenantBody(
            id=public_id(Prefix.TENANT, facts.tenant.id),
            slug=access.tenant_slug,
            status=facts.tenant.status.value,
            mode="test" if access.test else "live",
            timezone=access.timezone.key,
        ),
        valid=decision.valid,
        code=decision.code.value,
        codes=reason_bodies(decision.reasons) + quota_warnings(statuses),
        features=term.features,
        quotas=quota_bodies(statuses),
        rate_limits=rate_limit_bodies(admission.states),
        key_expires_at=access.key_expires_at,
        valid_until=term.end,
        server_time=at,
    )
    return Answer(body, admission.fields)


def read_quotas(credentials: Credentials) -> Answer[QuotaList]:
    """Every quota that holds for the caller, and what is left of it."""
    admission = admit(credentials, _now)
    [statuses] = statuses_of([admission.plan])
    return Answer(QuotaList(quota_bodies(statuses), None), admission.fields)


def read_usage(credentials: Credentials, question: UsageQuestion) -> Answer[UsageReportBody]:
    """What the caller and the agents below it used. Raises Invalid."""
    admission = admit(credentials, _now)
    access = admission.known.access
    with rate_fields_on_problems(admission):
        report = query_usage(
            UsageQuery(
                meter=resolve_meter(access.tenant_id, question.meter),
                start=question.start,
                end=question.end or admission.plan.at,
                timezone=question.timezone or access.timezone,
                license_id=access.facts.license.id,
                agent_id=access.agent_id,
                descendants=True,
                window=question.window,
                group_by=question.group_by,
                filter=question.filter,
                top=question.top,
            )
        )
    rows = [UsageRowBody(row.start, row.end, row.group, format_quantity(row.value)) for row in report.rows]
    return Answer(UsageReportBody(rows, format_quantity(report.total), None), admission.fields)


def _now(known: KnownCaller) -> Asked:
    return Asked(known.quotas, known.access.clock.now())
