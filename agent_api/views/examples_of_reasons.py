"""A decision for each reason that can stand against one, for the OpenAPI document."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from agent_api.operations import Example
from agent_api.views.examples import ALLOWED, VALID
from licenses.domain.enums import ReasonCode

_PAST: Final = "2026-11-01T00:00:00Z"
_SOON: Final = "2026-12-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class _Reason:
    """`more` are the reason's own members, `license` and `agent` what the answer shows of those beside it."""

    code: ReasonCode
    message: str
    blocks: bool = True
    until: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    license: Mapping[str, Any] = field(default_factory=dict)
    agent: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return self.code.replace("_", " ")

    def body(self) -> dict[str, Any]:
        """As it stands among the `codes`."""
        said = {"code": self.code.value, "message": self.message, "blocks": self.blocks}
        return {**said, "retryable": self.blocks and self.until is not None, "until": self.until, **self.more}


#: `agent_revoked` is not among them: the keys of a revoked agent are dead, which is a 401.
_REASONS: Final = (
    _Reason(
        ReasonCode.LICENSE_REVOKED,
        "The license was revoked for good. Ask the vendor for a new one.",
        license={"status": "revoked"},
    ),
    _Reason(ReasonCode.TENANT_SUSPENDED, "The vendor's workspace is suspended. The vendor has to settle it first."),
    _Reason(ReasonCode.CUSTOMER_SUSPENDED, "The customer is suspended. Ask the vendor to reinstate the customer."),
    _Reason(
        ReasonCode.LICENSE_SUSPENDED,
        "The license is suspended. Ask the vendor to reinstate it.",
        license={"status": "suspended"},
    ),
    _Reason(
        ReasonCode.LICENSE_EXPIRED,
        f"The license expired at {_PAST}. Renew it to go on.",
        more={"expired_at": _PAST},
        license={"status": "expired", "expires_at": _PAST},
    ),
    _Reason(
        ReasonCode.LICENSE_NOT_STARTED,
        f"The license begins at {_SOON}. Try again then.",
        until=_SOON,
        license={"status": "not_started"},
    ),
    _Reason(
        ReasonCode.AGENT_SUSPENDED,
        "The agent is suspended. Ask the vendor to resume it.",
        agent={"status": "suspended"},
    ),
    _Reason(
        ReasonCode.AGENT_EXPIRED,
        f"The agent's life ended at {_PAST}. Extend it or use another agent.",
        more={"expired_at": _PAST},
        agent={"status": "expired"},
    ),
    _Reason(
        ReasonCode.PARENT_AGENT_INACTIVE,
        "The parent agent 'planner' is suspended, and so are the agents under it. See to it first.",
        more={"parent_id": "agt_01kaqj5k8hf4e9w8zq5m0x3d7h", "parent_status": "suspended"},
        agent={"parent_id": "agt_01kaqj5k8hf4e9w8zq5m0x3d7h"},
    ),
    _Reason(
        ReasonCode.PRODUCT_MISMATCH,
        "The license is for the product 'researcher', not for 'writer'. Use a license of the product that is asked"
        " for.",
        more={"product": "researcher", "asked": "writer"},
    ),
    _Reason(
        ReasonCode.FEATURE_NOT_GRANTED,
        "The feature 'email' is not granted by the plan 'pro' or the license. Ask for a grant.",
        more={"feature": "email"},
    ),
    _Reason(
        ReasonCode.FEATURE_VALUE_NOT_ALLOWED,
        "The feature 'models' does not allow this value. Use one of: large, small.",
        more={"feature": "models", "allowed": ["large", "small"]},
    ),
    _Reason(ReasonCode.FINGERPRINT_REQUIRED, "The plan demands activation. Send the fingerprint of this machine."),
    _Reason(ReasonCode.NOT_ACTIVATED, "The license is not activated for this fingerprint. Activate it first."),
    _Reason(
        ReasonCode.ACTIVATION_LAPSED,
        f"The activation of this fingerprint lapsed at {_PAST}. Activate again, and send heartbeats in time.",
        more={"activation": "act_01kaqj5k8hf4e9w8zq5m0x3d7h", "lapsed_at": _PAST},
    ),
    _Reason(
        ReasonCode.GRACE_PERIOD,
        f"The license expired at {_PAST} and holds by grace until {_SOON}. Renew it before.",
        blocks=False,
        until=_SOON,
        license={"status": "grace", "expires_at": _PAST, "grace_until": _SOON},
    ),
)
#: `validate` takes features without values, `authorize` no product.
_ONLY_AUTHORIZE: Final = {ReasonCode.FEATURE_VALUE_NOT_ALLOWED}
_ONLY_VALIDATE: Final = {ReasonCode.PRODUCT_MISMATCH}


def _validated(reason: _Reason) -> Example:
    answer: dict[str, Any] = {
        **VALID,
        "valid": not reason.blocks,
        "code": reason.code.value,
        "codes": [reason.body()],
        "license": {**VALID["license"], **reason.license},
        "agent": {**VALID["agent"], **reason.agent},
    }
    return Example(reason.title, answer)


def _authorized(reason: _Reason) -> Example:
    answer: dict[str, Any] = {**ALLOWED, "codes": [reason.body()]}
    if reason.blocks:
        answer |= {"allowed": False, "code": reason.code.value, "event_ids": []}
    return Example(reason.title, answer)


#: What `validate` and `authorize` answer where something is to be said, one for each reason.
VALIDATED: Final = tuple(_validated(reason) for reason in _REASONS if reason.code not in _ONLY_AUTHORIZE)
AUTHORIZED: Final = tuple(_authorized(reason) for reason in _REASONS if reason.code not in _ONLY_VALIDATE)
