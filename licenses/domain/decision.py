"""Is this allowed? One pure decision over frozen facts, with every reason at once.

Reasons come weightiest first, in the order of `RULES`: what is final before what may pass, then the widest
scope first (workspace, customer, licence, agent, parents), then what the request itself asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from common.clock import rfc3339
from licenses.domain.entitlements import EffectiveFeature, effective_feature, grant_starts_at
from licenses.domain.enums import (
    AgentStatus,
    FeatureKind,
    LapsePolicy,
    LicenseStatus,
    ReasonCode,
)
from licenses.domain.facts import AccessFacts, ActivationFacts, AskedValue
from tenants.domain.enums import CustomerStatus, TenantStatus


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something does not hold (`blocks`), or holds only for now (a warning).

    `message` says what to do next. `retryable`: the same call may pass later without anybody's doing.
    `until`: when this reason goes by itself (or, for a warning, when it turns into a refusal).
    """

    code: ReasonCode
    message: str
    blocks: bool = True
    retryable: bool = False
    until: datetime | None = None
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LicenseDecision:
    """`code` is the weightiest blocking reason, else `grace_period`, else `valid`.

    Any other warning stands in `reasons` only.
    """

    valid: bool
    code: ReasonCode
    reasons: tuple[Reason, ...] = ()


class Case(NamedTuple):
    """What a rule looks at: the facts, the instant, and what the caller asked for."""

    facts: AccessFacts
    at: datetime
    features: Sequence[str] = ()
    feature_value: tuple[str, AskedValue] | None = None
    product: str | None = None
    fingerprint: str | None = None
    activation: ActivationFacts | None = None


Rule = Callable[[Case], Sequence[Reason]]


def decide_license(
    facts: AccessFacts,
    *,
    at: datetime,
    features: Sequence[str] = (),
    feature_value: tuple[str, AskedValue] | None = None,
    product: str | None = None,
    fingerprint: str | None = None,
    activation: ActivationFacts | None = None,
) -> LicenseDecision:
    """Every reason why the licence does not hold at `at` for what is asked, weightiest first.

    `features` must each be granted; `feature_value` is a feature's code and the value it shall be used with.
    `product` is compared with the licence's product code. `activation` is the one found for `fingerprint`
    (None: there is none); both matter only where the plan demands activation. Periods are half-open.
    """
    case = Case(facts, at, features, feature_value, product, fingerprint, activation)
    reasons: list[Reason] = []
    for rule in RULES:
        if found := rule(case):
            reasons.extend(found)
    if not reasons:
        return _VALID
    for reason in reasons:
        if reason.blocks:
            return LicenseDecision(False, reason.code, tuple(reasons))
    in_grace = any(reason.code is ReasonCode.GRACE_PERIOD for reason in reasons)
    return LicenseDecision(True, ReasonCode.GRACE_PERIOD if in_grace else ReasonCode.VALID, tuple(reasons))


def chain_is_revoked(facts: AccessFacts) -> bool:
    """Whether the caller or one of its parents was revoked: its key is dead then, not merely refused."""
    return any(agent.status == AgentStatus.REVOKED for agent in facts.agents)


def _license_revoked(case: Case) -> Sequence[Reason]:
    return _LICENSE_REVOKED if case.facts.license.status == LicenseStatus.REVOKED else ()


def _agent_revoked(case: Case) -> Sequence[Reason]:
    return _AGENT_REVOKED if case.facts.agents and case.facts.agents[0].status == AgentStatus.REVOKED else ()


def _tenant_suspended(case: Case) -> Sequence[Reason]:
    return () if case.facts.tenant.status == TenantStatus.ACTIVE else _TENANT_SUSPENDED


def _customer_suspended(case: Case) -> Sequence[Reason]:
    return () if case.facts.customer.status == CustomerStatus.ACTIVE else _CUSTOMER_SUSPENDED


def _license_suspended(case: Case) -> Sequence[Reason]:
    return _LICENSE_SUSPENDED if case.facts.license.status == LicenseStatus.SUSPENDED else ()


def _license_expired(case: Case) -> Sequence[Reason]:
    expires_at = case.facts.license.expires_at
    if expires_at is None or case.at < expires_at or (end := case.facts.license.grace_until) is None or case.at < end:
        return ()
    message = f"The license expired at {rfc3339(expires_at)}. Renew it to go on."
    return (Reason(ReasonCode.LICENSE_EXPIRED, message, extra={"expired_at": expires_at}),)


def _license_not_started(case: Case) -> Sequence[Reason]:
    starts_at = case.facts.license.starts_at
    if case.at >= starts_at:
        return ()
    message = f"The license begins at {rfc3339(starts_at)}. Try again then."
    return (Reason(ReasonCode.LICENSE_NOT_STARTED, message, retryable=True, until=starts_at),)


def _agent_suspended(case: Case) -> Sequence[Reason]:
    return _AGENT_SUSPENDED if case.facts.agents and case.facts.agents[0].status == AgentStatus.SUSPENDED else ()


def _agent_expired(case: Case) -> Sequence[Reason]:
    if not case.facts.agents or (expires_at := case.facts.agents[0].expires_at) is None or case.at < expires_at:
        return ()
    message = f"The agent's life ended at {rfc3339(expires_at)}. Extend it or use another agent."
    return (Reason(ReasonCode.AGENT_EXPIRED, message, extra={"expired_at": expires_at}),)


def _parent_agent_inactive(case: Case) -> Sequence[Reason]:
    if len(case.facts.agents) < 2:
        return ()
    for parent in case.facts.agents[1:]:
        if parent.status != AgentStatus.ACTIVE or (parent.expires_at is not None and parent.expires_at <= case.at):
            state = "expired" if parent.status == AgentStatus.ACTIVE else str(parent.status)
            message = f"The parent agent '{parent.name}' is {state}, and so are the agents under it. See to it first."
            extra = {"parent_id": parent.id, "parent_status": state}
            return (Reason(ReasonCode.PARENT_AGENT_INACTIVE, message, extra=extra),)
    return ()


def _product_mismatch(case: Case) -> Sequence[Reason]:
    if case.product is None or case.product == case.facts.product_code:
        return ()
    message = (
        f"The license is for the product '{case.facts.product_code}', not for '{case.product}'."
        " Use a license of the product that is asked for."
    )
    extra = {"product": case.facts.product_code, "asked": case.product}
    return (Reason(ReasonCode.PRODUCT_MISMATCH, message, extra=extra),)


def _feature_not_granted(case: Case) -> Sequence[Reason]:
    asked = case.features
    if case.feature_value is not None and case.feature_value[0] not in asked:
        asked = (*asked, case.feature_value[0])
    if not asked:
        return ()
    reasons: list[Reason] = []
    for code in dict.fromkeys(asked):
        feature = effective_feature(case.facts, code, case.at)
        if feature is None or not feature.granted:
            reasons.append(_not_granted(case.facts, code, feature, case.at))
    return reasons


def _not_granted(facts: AccessFacts, code: str, feature: EffectiveFeature | None, at: datetime) -> Reason:
    if feature is not None and feature.narrowed_by is not None:
        message = f"The feature '{code}' is not among those of this agent or its parents. Widen the agent's features."
        extra: Mapping[str, object] = {"feature": code, "narrowed_by": feature.narrowed_by}
        return Reason(ReasonCode.FEATURE_NOT_GRANTED, message, extra=extra)
    starts_at = grant_starts_at(facts, code, at)
    if starts_at is not None:
        message = f"The feature '{code}' is granted from {rfc3339(starts_at)} on. Try again then."
    else:
        message = (
            f"The feature '{code}' is not granted by the plan '{facts.plan_code}' or the license. Ask for a grant."
        )
    return Reason(
        ReasonCode.FEATURE_NOT_GRANTED,
        message,
        retryable=starts_at is not None,
        until=starts_at,
        extra={"feature": code},
    )


def _feature_value_not_allowed(case: Case) -> Sequence[Reason]:
    if case.feature_value is None:
        return ()
    code, asked = case.feature_value
    feature = effective_feature(case.facts, code, case.at)
    # A feature that is not granted at all is the rule before this one; its values are not refused twice.
    if feature is None or not feature.granted or feature.allows(asked):
        return ()
    allowed = feature.shown
    if isinstance(allowed, list):
        hint = f"Use one of: {', '.join(allowed)}."
    elif feature.kind == FeatureKind.LIMIT:
        hint = f"Use a number up to {feature.value}."
    else:
        hint = "It is a switch: leave the value out."
    message = f"The feature '{code}' does not allow this value. {hint}"
    extra = {"feature": code, "allowed": allowed}
    return (Reason(ReasonCode.FEATURE_VALUE_NOT_ALLOWED, message, extra=extra),)


def _activation(case: Case) -> Sequence[Reason]:
    """The three codes of activation exclude each other, in this order."""
    if not case.facts.activation_required:
        return ()
    activation = case.activation
    if activation is None:
        return _FINGERPRINT_REQUIRED if case.fingerprint is None else _NOT_ACTIVATED
    if activation.expires_at is None or case.at < activation.expires_at:
        return ()
    whose = "fingerprint" if activation.instance is None else "instance"
    message = (
        f"The activation of this {whose} lapsed at {rfc3339(activation.expires_at)}."
        " Activate again, and send heartbeats in time."
    )
    extra = {"activation": activation.id, "lapsed_at": activation.expires_at}
    blocks = case.facts.lapse_policy != LapsePolicy.WARN
    return (Reason(ReasonCode.ACTIVATION_LAPSED, message, blocks=blocks, extra=extra),)


def _grace_period(case: Case) -> Sequence[Reason]:
    expires_at = case.facts.license.expires_at
    if expires_at is None or case.at < expires_at:
        return ()
    end = case.facts.license.grace_until
    if end is not None and case.at >= end:
        return ()
    until = "" if end is None else f" until {rfc3339(end)}"
    message = f"The license expired at {rfc3339(expires_at)} and holds by grace{until}. Renew it before."
    return (Reason(ReasonCode.GRACE_PERIOD, message, blocks=False, until=end),)


RULES: tuple[Rule, ...] = (
    _license_revoked,
    _agent_revoked,
    _tenant_suspended,
    _customer_suspended,
    _license_suspended,
    _license_expired,
    _license_not_started,
    _agent_suspended,
    _agent_expired,
    _parent_agent_inactive,
    _product_mismatch,
    _feature_not_granted,
    _feature_value_not_allowed,
    _activation,
    _grace_period,
)

_VALID = LicenseDecision(True, ReasonCode.VALID)

# Reasons without details are made once: refusals can come in floods.
_LICENSE_REVOKED = (
    Reason(ReasonCode.LICENSE_REVOKED, "The license was revoked for good. Ask the vendor for a new one."),
)
_AGENT_REVOKED = (Reason(ReasonCode.AGENT_REVOKED, "The agent was revoked for good. Use another agent."),)
_TENANT_SUSPENDED = (
    Reason(ReasonCode.TENANT_SUSPENDED, "The vendor's workspace is suspended. The vendor has to settle it first."),
)
_CUSTOMER_SUSPENDED = (
    Reason(ReasonCode.CUSTOMER_SUSPENDED, "The customer is suspended. Ask the vendor to reinstate the customer."),
)
_LICENSE_SUSPENDED = (
    Reason(ReasonCode.LICENSE_SUSPENDED, "The license is suspended. Ask the vendor to reinstate it."),
)
_AGENT_SUSPENDED = (Reason(ReasonCode.AGENT_SUSPENDED, "The agent is suspended. Ask the vendor to resume it."),)
_FINGERPRINT_REQUIRED = (
    Reason(ReasonCode.FINGERPRINT_REQUIRED, "The plan demands activation. Send the fingerprint of this machine."),
)
_NOT_ACTIVATED = (
    Reason(ReasonCode.NOT_ACTIVATED, "The license is not activated for this fingerprint. Activate it first."),
)
