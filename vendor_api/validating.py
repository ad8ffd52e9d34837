"""The licence question, asked by the vendor: the same decision as on the agents' door, about the licence itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from common.errors import NotFound
from common.ids import Prefix, encode_id
from licenses.domain.decision import Reason, decide_license
from licenses.domain.entitlements import effective_features
from licenses.domain.facts import ActivationFacts
from licenses.domain.license_times import displayed_status, valid_until
from licenses.models import License
from licenses.selectors.access import AccessSnapshot, load_license
from licenses.selectors.activations import activation_of
from metering.domain.enums import QuotaState
from metering.selectors.applicable import QuotaStanding, quotas_applying
from tenants.models import Tenant
from vendor_api.serializers.fields import format_time

_PREFIX_OF_DETAIL = {"narrowed_by": Prefix.AGENT, "parent_id": Prefix.AGENT, "activation": Prefix.ACTIVATION}
_WARNING_OF_STATE = {
    QuotaState.NEAR_LIMIT: ("quota_near_limit", "is near its limit"),
    QuotaState.EXCEEDED: ("quota_exceeded", "has reached its limit"),
    QuotaState.OVERAGE: ("quota_exceeded", "is above its limit; what goes beyond is billed"),
}


def validate_license(
    tenant: Tenant,
    license: License,
    *,
    at: datetime,
    features: Sequence[str] = (),
    fingerprint: str | None = None,
    product: str | None = None,
    nonce: str | None = None,
) -> dict[str, Any]:
    """Whether the licence holds at `at`, every reason and warning, and how its quotas stand. Reads only."""
    access = load_license(tenant.id, license.id)
    if access is None:
        raise NotFound
    activation = activation_of(access, fingerprint)
    decision = decide_license(
        access.facts, at=at, features=features, product=product, fingerprint=fingerprint, activation=activation
    )
    required = access.facts.activation_required
    standings = quotas_applying(tenant, license=license, at=at)
    codes = [shown_reason(reason) for reason in decision.reasons]
    codes += [_quota_warning(standing) for standing in standings if standing.state in _WARNING_OF_STATE]
    return {
        "valid": decision.valid,
        "code": decision.code.value,
        "codes": codes,
        "license": _shown_license(access, at),
        "agent": None,
        "features": {code: found.shown for code, found in effective_features(access.facts, at).items()},
        "quotas": standings,
        "activation": _shown_activation(activation),
        "valid_until": valid_until(access.facts, at, activation=activation if required else None),
        "server_time": at,
        "nonce": nonce,
    }


def _shown_license(access: AccessSnapshot, at: datetime) -> dict[str, Any]:
    facts = access.facts
    return {
        "id": facts.license.id,
        "status": displayed_status(facts.license, at).value,
        "customer": {"id": facts.customer.id, "external_id": facts.customer.external_id},
        "plan": facts.plan_code,
        "product": facts.product_code,
        "expires_at": facts.license.expires_at,
        "grace_until": facts.license.grace_until if facts.license.grace else None,
    }


def _shown_activation(activation: ActivationFacts | None) -> dict[str, Any] | None:
    if activation is None:
        return None
    return {
        "id": encode_id(Prefix.ACTIVATION, activation.id),
        "fingerprint": activation.fingerprint,
        "expires_at": None if activation.expires_at is None else format_time(activation.expires_at),
    }


def shown_reason(reason: Reason) -> dict[str, Any]:
    """A reason of the decision; its details stand apart, with ids and times as they are shown."""
    return {
        "code": reason.code.value,
        "message": reason.message,
        "blocks": reason.blocks,
        "retryable": reason.retryable,
        "until": reason.until,
        "details": {name: _detail(name, value) for name, value in reason.extra.items()},
    }


def _quota_warning(standing: QuotaStanding) -> dict[str, Any]:
    code, words = _WARNING_OF_STATE[standing.state]
    terms = standing.terms
    return {
        "code": code,
        "message": f"The quota on '{terms.meter_code}' ({terms.scope}, {terms.period}) {words}.",
        "blocks": False,
        "retryable": False,
        "until": standing.resets_at,
        "details": {"meter": terms.meter_code, "scope": terms.scope.value, "quota": encode_id(Prefix.QUOTA, terms.id)},
    }


def _detail(name: str, value: object) -> Any:
    if isinstance(value, UUID):
        return encode_id(_PREFIX_OF_DETAIL[name], value)
    return format_time(value) if isinstance(value, datetime) else value
