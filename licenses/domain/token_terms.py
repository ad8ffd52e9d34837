"""What goes into a signed licence, and how long it may live: pure, from the same facts as every decision."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from common.ids import Prefix, encode_id
from licenses.domain.entitlements import effective_features
from licenses.domain.facts import AccessFacts, FeatureValue

#: A file for a machine that never connects lives this long, unless its end is named.
FILE_LIFE: Final = timedelta(days=365)


def token_end(facts: AccessFacts, at: datetime, *, wanted: datetime) -> datetime:
    """When a token that is issued at `at` ends: as wanted, at most with the licence, an agent on its path, or a grant.

    In a licence's grace the end of the grace counts. All in the workspace's time.
    """
    ends = [wanted]
    license = facts.license
    if license.expires_at is not None:
        ends.append(license.expires_at if license.expires_at > at else license.grace_until or license.expires_at)
    ends += [agent.expires_at for agent in facts.agents if agent.expires_at is not None]
    # What was granted for a time only must not outlive it in a token that nobody can change any more.
    ends += [grant.expires_at for grant in facts.grants if grant.expires_at is not None and grant.expires_at > at]
    return min(ends)


def license_claims(
    facts: AccessFacts,
    at: datetime,
    *,
    audience: str | None,
    quotas: Sequence[Mapping[str, Any]] = (),
    confirmation: Mapping[str, Any] | None = None,
    fingerprint: str | None = None,
) -> dict[str, Any]:
    """The claims that say what is licensed to whom; issuer, times, id and status are added when it is signed.

    `act` names the calling agent and, nested, those above it (RFC 8693).
    """
    license_id = encode_id(Prefix.LICENSE, facts.license.id)
    claims: dict[str, Any] = {
        "sub": encode_id(Prefix.AGENT, facts.agents[0].id) if facts.agents else license_id,
        "aud": audience or facts.product_code,
        "license": license_id,
        "customer": encode_id(Prefix.CUSTOMER, facts.customer.id),
        "product": facts.product_code,
        "plan": facts.plan_code,
        "features": {
            code: _plain(feature.value)
            for code, feature in sorted(effective_features(facts, at).items())
            if feature.granted
        },
        "quotas": [dict(quota) for quota in quotas],
    }
    act: dict[str, Any] | None = None
    for agent in reversed(facts.agents):
        act = {"sub": encode_id(Prefix.AGENT, agent.id)} | ({} if act is None else {"act": act})
    if act is not None:
        claims["act"] = act
    if confirmation is not None:
        claims["cnf"] = dict(confirmation)
    if fingerprint is not None:
        claims["fingerprint"] = fingerprint
    return claims


def _plain(value: FeatureValue) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value
