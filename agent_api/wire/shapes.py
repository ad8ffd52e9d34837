"""Domain values as they are shown to agents."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID

from agent_api.wire.answers import (
    AgentBody,
    CustomerBody,
    HeldLineBody,
    HoldBody,
    LicenseBody,
    QuotaBody,
    RateLimitBody,
    ReasonBody,
    RollingBody,
)
from common.clock import rfc3339
from common.ids import Prefix, encode_id
from common.quantities import format_quantity
from licenses.domain.decision import Reason
from licenses.domain.entitlements import EffectiveFeature
from licenses.domain.enums import AgentStatus, DisplayedStatus
from licenses.domain.facts import AccessFacts
from licenses.domain.license_times import displayed_status
from licenses.domain.rate_limits import LimitState
from metering.domain.enums import HoldStatus, QuotaMode, QuotaState
from metering.domain.quota_state import headroom
from metering.domain.requests import Crowded, Unrated
from metering.domain.terms import QuotaTerms
from metering.selectors.quota_statuses import QuotaStatus

_ID_OF = {"parent_id": Prefix.AGENT, "narrowed_by": Prefix.AGENT, "activation": Prefix.ACTIVATION}

#: The ids of licences, agents and quotas come again in every answer.
public_id = lru_cache(maxsize=50_000)(encode_id)


class Hold(Protocol):
    """A stored hold, or one that was just made."""

    @property
    def id(self) -> UUID: ...
    @property
    def client_id(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def on_excess(self) -> str: ...
    @property
    def usage(self) -> Any: ...
    @property
    def settled(self) -> Any: ...
    @property
    def expires_at(self) -> datetime: ...


def license_body(facts: AccessFacts, at: datetime) -> LicenseBody:
    """The licence as it is shown at `at` (workspace time)."""
    license = facts.license
    return LicenseBody(
        id=public_id(Prefix.LICENSE, license.id),
        status=displayed_status(license, at).value,
        customer=customer_body(facts),
        plan=facts.plan_code,
        product=facts.product_code,
        expires_at=license.expires_at,
        grace_until=license.grace_until if license.grace > timedelta(0) else None,
    )


def customer_body(facts: AccessFacts) -> CustomerBody:
    """Who holds the licence."""
    return CustomerBody(public_id(Prefix.CUSTOMER, facts.customer.id), facts.customer.external_id)


def agent_body(facts: AccessFacts, at: datetime) -> AgentBody | None:
    """The calling agent; None where a licence key was shown."""
    agent = facts.agent
    if agent is None:
        return None
    expired = agent.status == AgentStatus.ACTIVE and agent.expires_at is not None and agent.expires_at <= at
    return AgentBody(
        id=public_id(Prefix.AGENT, agent.id),
        name=agent.name,
        status=DisplayedStatus.EXPIRED.value if expired else agent.status.value,
        parent_id=None if agent.parent_id is None else public_id(Prefix.AGENT, agent.parent_id),
    )


def features_body(features: Mapping[str, EffectiveFeature]) -> dict[str, object]:
    """Features by code: a switch as true or false, a limit as a number, a choice as a list in declared order."""
    return {code: feature.shown for code, feature in sorted(features.items())}


@lru_cache(maxsize=10_000)
def quota_body(status: QuotaStatus) -> QuotaBody:
    """Where a quota stands; one that stands as before is the very same status, and has its body already."""
    quota = status.quota
    return QuotaBody(
        id=public_id(Prefix.QUOTA, quota.id),
        meter=quota.meter_code,
        filter=dict(quota.filter),
        scope=quota.scope.value,
        mode=quota.mode.value,
        period=quota.period.value if quota.rolling_seconds is None else RollingBody(quota.rolling_seconds),
        limit=format_quantity(quota.limit),
        top_ups=format_quantity(status.top_ups),
        carried_over=format_quantity(status.carried_over),
        used=format_quantity(status.used),
        held=format_quantity(status.held),
        remaining=format_quantity(status.remaining),
        state=status.state.value,
        resets_at=status.resets_at,
    )


def quota_bodies(statuses: Iterable[QuotaStatus]) -> list[QuotaBody]:
    """Where quotas stand, in their order."""
    return [quota_body(status) for status in statuses]


def reason_bodies(reasons: Iterable[Reason]) -> list[ReasonBody]:
    """Reasons of the licence, in their order."""
    return [_reason_body(reason) for reason in reasons]


def quota_refusal(status: QuotaStatus, asked: Decimal) -> ReasonBody:
    """Why a quota without room for `asked` refuses, and what to do."""
    quota = status.quota
    left = headroom(
        mode=quota.mode,
        limit=quota.limit,
        ceiling=quota.ceiling,
        used=status.used,
        held=status.held,
        top_ups=status.standing.extra,
    )
    body = _of_quota("quota_exceeded", _refusal_text(status, asked), status)
    body.blocks = True
    body.asked = format_quantity(asked)
    body.remaining = format_quantity(status.remaining if left is None else left)
    return body


def rate_refusal(unrated: Unrated) -> ReasonBody:
    """Why usage that nobody can price is refused, and what to do."""
    quota = unrated.quota
    shown = ", ".join(f"{name} {value}" for name, value in sorted(unrated.dimensions.items()))
    of = f" with {shown}" if shown else ""
    return ReasonBody(
        code="rate_missing",
        message=(
            f"{unrated.cost_meter_code} has no rate for {unrated.meter_code}{of}, and the {quota.scope.value}'s quota "
            f"of {unrated.cost_meter_code} limits what this may cost. Add a row to its rate card, or send dimensions "
            f"that have one."
        ),
        blocks=True,
        retryable=False,
        until=None,
        meter=unrated.cost_meter_code,
        scope=quota.scope.value,
        quota=public_id(Prefix.QUOTA, quota.id),
    )


def hold_limit_refusal(crowded: Crowded) -> ReasonBody:
    """Why no further hold can be opened, and when the next place is free."""
    scope = crowded.limit.level.value
    return ReasonBody(
        code="concurrency_exceeded",
        message=(
            f"The {scope} has {crowded.current} holds open, and may have {crowded.limit.limit}. "
            f"Settle or release one, or wait until one expires."
        ),
        blocks=True,
        retryable=True,
        until=crowded.until,
        scope=scope,
        limit=str(crowded.limit.limit),
        current=crowded.current,
    )


def quota_warnings(statuses: Iterable[QuotaStatus]) -> list[ReasonBody]:
    """What is to be said of quotas that are near their limit or past it; none of it blocks."""
    warnings = []
    for status in statuses:
        match status.state:
            case QuotaState.NEAR_LIMIT:
                what = "is near its limit. Slow down, or ask for more."
                warnings.append(_of_quota("quota_near_limit", f"{_called(status.quota)} {what}", status))
            case QuotaState.EXCEEDED:
                warnings.append(_of_quota("quota_exceeded", _refusal_text(status), status))
            case QuotaState.OVERAGE:
                what = "is past its limit: what is used now is overage."
                warnings.append(_of_quota("quota_exceeded", f"{_called(status.quota)} {what}", status))
    return warnings


def hold_body(hold: Hold) -> HoldBody:
    """A hold."""
    return HoldBody(
        id=public_id(Prefix.HOLD, hold.id),
        expires_at=hold.expires_at,
        usage=[HeldLineBody(line["meter"], line["quantity"], line["dimensions"]) for line in hold.usage],
        status=HoldStatus(hold.status).value,
        authorize_id=hold.client_id,
        on_excess=hold.on_excess,  # type: ignore[arg-type] # a member of OnExcess, by the table's own check
        settled=list(hold.settled),
    )


def rate_limit_bodies(states: Sequence[LimitState]) -> list[RateLimitBody]:
    """Rate limits and what is left of them."""
    return [
        RateLimitBody(
            level=state.level.value,
            limit=state.limit,
            window=state.window,
            burst=state.burst,
            remaining=state.remaining,
            reset_seconds=state.reset_seconds,
        )
        for state in states
    ]


def _reason_body(reason: Reason) -> ReasonBody:
    body = ReasonBody(
        code=reason.code.value,
        message=reason.message,
        blocks=reason.blocks,
        retryable=reason.retryable,
        until=reason.until,
    )
    for name, value in reason.extra.items():
        setattr(body, name, public_id(_ID_OF[name], value) if isinstance(value, UUID) else value)
    return body


def _of_quota(code: str, message: str, status: QuotaStatus) -> ReasonBody:
    quota = status.quota
    return ReasonBody(
        code=code,
        message=message,
        blocks=False,
        retryable=status.resets_at is not None or status.held > 0,
        until=status.resets_at,
        meter=quota.meter_code,
        scope=quota.scope.value,
        quota=public_id(Prefix.QUOTA, quota.id),
        limit=format_quantity(quota.limit),
        used=format_quantity(status.used),
        held=format_quantity(status.held),
        remaining=format_quantity(status.remaining),
        resets_at=status.resets_at,
    )


def _called(quota: QuotaTerms) -> str:
    period = f" of this {quota.period.value}" if quota.period.value in _PERIODS_OF_A_CALENDAR else ""
    return f"The {quota.scope.value}'s quota of {quota.meter_code}{period}"


_PERIODS_OF_A_CALENDAR = frozenset({"hour", "day", "week", "month", "year"})


def _refusal_text(status: QuotaStatus, asked: Decimal | None = None) -> str:
    quota = status.quota
    most = quota.limit if quota.mode is QuotaMode.HARD or quota.ceiling is None else quota.ceiling
    what = "is used up" if asked is None else f"has no room for {format_quantity(asked)}"
    text = f"{_called(quota)} {what}: {format_quantity(status.used)} of {format_quantity(most)} is used"
    text += f" and {format_quantity(status.held)} held" if status.held else ""
    if status.resets_at is not None:
        return f"{text}. It begins anew at {rfc3339(status.resets_at)}; ask for less, wait, or ask for more quota."
    return f"{text}. It does not begin anew: ask for less, or for more quota."
