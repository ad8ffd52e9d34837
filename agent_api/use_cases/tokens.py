"""`tokens`: a signed licence for use without a connection, with what it may use set aside beforehand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from agent_api.use_cases.activated import standing_activations
from agent_api.use_cases.answering import Answer
from agent_api.use_cases.callers import Credentials, KnownCaller, renew
from agent_api.use_cases.holding import admit, rate_fields_on_problems
from agent_api.use_cases.once import answer_once
from agent_api.use_cases.usage_lines import AskedLine, check_lines
from agent_api.wire.shapes import quota_refusal, rate_refusal
from agent_api.wire.tokens import TokenAnswer, TokenRequest
from common.clock import real_clock
from common.errors import Forbidden, Invalid, Problem, Unavailable
from common.ids import Prefix, encode_id
from common.quantities import format_quantity
from licenses.domain.decision import decide_license
from licenses.domain.enums import LicenseKind
from licenses.domain.jose import thumbprint
from licenses.domain.public_jwk import JwkFault, public_jwk
from licenses.domain.token_terms import license_claims, token_end
from licenses.selectors.access import AccessSnapshot
from licenses.selectors.signing import token_ttl
from licenses.services.tokens import SignedLicense, StaleSnapshot, issue_token
from metering.selectors.quota_statuses import Asked, QuotaStatus, statuses_of
from metering.services.leases import LeasedLine, LeaseRefused, give_back, take_lease
from metering.services.ledger import StaleCallers

_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class TokenCommand:
    """An agent asks for a signed licence; `raw` is the body as it came, for the Idempotency-Key."""

    credentials: Credentials
    asked: TokenRequest
    raw: bytes = b""
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    lines: Sequence[AskedLine]
    key: Mapping[str, str] | None


def issue(command: TokenCommand) -> Answer[TokenAnswer]:
    """Sign a licence for the caller, once for each idempotency key.

    Raises Invalid, Forbidden: the code of what stands against the licence, `license_not_signed` where it is carried as
    a key only, `quota_exceeded` where there is no room for the lease.
    """
    admission = admit(command.credentials, partial(_plan, command.asked))
    with rate_fields_on_problems(admission):
        return answer_once(
            admission.known,
            key=command.idempotency_key,
            path="/agent/v1/tokens",
            raw=command.raw,
            fields=admission.fields,
            answer=TokenAnswer,
            work=lambda: (201, _issue(command, admission.known, admission.plan)),
        )


def _plan(asked: TokenRequest, known: KnownCaller) -> _Plan | Problem:
    lines = check_lines(known, asked.lease or (), reserving=True)
    if isinstance(lines, Invalid):
        return _in_lease(lines)
    if asked.public_key is None:
        return _Plan(lines, None)
    try:
        return _Plan(lines, public_jwk(asked.public_key))
    except JwkFault as fault:
        return Invalid.field("public_key", fault.code, fault.detail)


def _in_lease(problem: Invalid) -> Invalid:
    """The faults of usage lines, under the name that they were sent with here."""
    errors = [{**error, "field": error["field"].replace("usage.", "lease.", 1)} for error in problem.errors]
    return Invalid(problem.detail.replace("usage.", "lease.", 1), errors=errors)  # type: ignore[arg-type] # as they were


def _issue(command: TokenCommand, known: KnownCaller, plan: _Plan) -> TokenAnswer:
    for _ in range(_ROUNDS):
        try:
            return _attempt(command.asked, known, plan)
        except (StaleCallers, StaleSnapshot):
            found = renew([(command.credentials, known)])[id(known)]
            if isinstance(found, Problem):
                raise found from None
            known = found
            fresh = _plan(command.asked, known)
            if isinstance(fresh, Problem):
                raise fresh from None
            plan = fresh
    raise Unavailable("What the token rests on changed again and again. Nothing was done.")


def _attempt(asked: TokenRequest, known: KnownCaller, plan: _Plan) -> TokenAnswer:
    access = known.access
    facts, at = access.facts, access.clock.now()
    [activation] = standing_activations([(known, asked.fingerprint, None)])
    decision = decide_license(facts, at=at, fingerprint=asked.fingerprint, activation=activation)
    if not decision.valid:
        reason = next(reason for reason in decision.reasons if reason.blocks)
        raise Forbidden(decision.code.value, reason.message)
    if facts.license.kind is LicenseKind.OPAQUE:
        detail = "The license is carried as a key only. Ask the vendor for one of kind signed or both."
        raise Forbidden("license_not_signed", detail)
    most = token_ttl(access.tenant_id, access.base_plan_id)
    wanted = most if asked.ttl is None else min(timedelta(seconds=asked.ttl), most)
    ends = token_end(facts, at, wanted=at + wanted)
    # A workspace's clock may run ahead; a token lives on real time.
    expires_at = real_clock().now() + (ends - at)
    hold_id = _lease(known, plan, ends, at)
    try:
        signed = _sign(known, asked, plan, at, expires_at, hold_id)
    except BaseException:
        if hold_id is not None:
            give_back(caller=known.metering, hold_id=hold_id, at=at)
        raise
    return TokenAnswer(
        token=signed.text,
        token_id=encode_id(Prefix.TOKEN, signed.token.id),
        expires_at=signed.token.expires_at.astimezone(UTC),
        hold_id=None if hold_id is None else encode_id(Prefix.HOLD, hold_id),
    )


def _lease(known: KnownCaller, plan: _Plan, ends: datetime, at: datetime) -> UUID | None:
    if not plan.lines:
        return None
    lines = [LeasedLine(line.meter, line.quantity, line.dimensions) for line in plan.lines]
    try:
        return take_lease(caller=known.metering, lines=lines, expires_at=ends, at=at)
    except LeaseRefused as refused:
        reasons = [quota_refusal(QuotaStatus.of(each.quota, each.standing), each.asked) for each in refused.refusals]
        reasons += [rate_refusal(unrated) for unrated in refused.unrated]
        codes = [msgspec.to_builtins(reason) for reason in reasons]
        named = {name: codes[0][name] for name in _OF_QUOTA if name in codes[0]}
        detail = f"{reasons[0].message} Nothing was set aside."
        raise Forbidden(reasons[0].code, detail, extra={**named, "codes": codes}) from None


_OF_QUOTA = ("meter", "scope", "quota", "limit", "used", "held", "remaining", "asked", "resets_at")


def _sign(
    known: KnownCaller, asked: TokenRequest, plan: _Plan, at: datetime, expires_at: datetime, hold_id: UUID | None
) -> SignedLicense:
    access: AccessSnapshot = known.access
    [statuses] = statuses_of([Asked(known.quotas, at)])
    claims = license_claims(
        access.facts,
        at,
        audience=asked.audience,
        quotas=[_quota(status) for status in statuses],
        confirmation=None if plan.key is None else {"jwk": plan.key},
        fingerprint=asked.fingerprint,
    )
    if hold_id is not None:
        claims["lease"] = {
            "hold_id": encode_id(Prefix.HOLD, hold_id),
            "usage": [
                {
                    "meter": line.meter.code,
                    "quantity": format_quantity(line.quantity),
                    "dimensions": dict(line.dimensions),
                }
                for line in plan.lines
            ],
        }
    return issue_token(
        access=access,
        claims=claims,
        expires_at=expires_at.replace(microsecond=0),
        hold_id=hold_id,
        confirmation="" if plan.key is None else thumbprint(plan.key),
    )


def _quota(status: QuotaStatus) -> dict[str, Any]:
    quota = status.quota
    return {
        "id": encode_id(Prefix.QUOTA, quota.id),
        "meter": quota.meter_code,
        "filter": dict(quota.filter),
        "scope": quota.scope.value,
        "mode": quota.mode.value,
        "period": quota.shown_period,
        "limit": format_quantity(quota.limit),
        "remaining": format_quantity(status.remaining),
        "resets_at": status.resets_at,
    }
