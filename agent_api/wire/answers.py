"""What agents are answered, as types: the one place from which both the bytes and the OpenAPI document come."""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")

Feature = Annotated[
    bool | int | float | list[str],
    Meta(description="Of a switch true or false, of a limit a number, of a choice a list."),
]
Moment = Annotated[datetime, Meta(tz=True)]
Amount = Annotated[str, Meta(description="A decimal.", examples=["1532"])]


class ReasonBody(Struct, kw_only=True):
    """Why not, or a warning. `until`: when it passes by itself. What concerns a quota or feature names it."""

    code: str
    message: Annotated[str, Meta(description="What to do next.")]
    blocks: bool
    retryable: bool
    until: Moment | None
    meter: str | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    quota: str | UnsetType = UNSET
    limit: Amount | UnsetType = UNSET
    used: Amount | UnsetType = UNSET
    held: Amount | UnsetType = UNSET
    remaining: Amount | UnsetType = UNSET
    resets_at: Moment | UnsetType | None = UNSET
    asked: str | UnsetType = UNSET
    current: int | UnsetType = UNSET
    feature: str | UnsetType = UNSET
    allowed: Feature | UnsetType = UNSET
    narrowed_by: str | UnsetType = UNSET
    product: str | UnsetType = UNSET
    parent_id: str | UnsetType = UNSET
    parent_status: str | UnsetType = UNSET
    activation: str | UnsetType = UNSET
    expired_at: Moment | UnsetType = UNSET
    lapsed_at: Moment | UnsetType = UNSET


class CustomerBody(Struct):
    """Who holds the licence."""

    id: str
    external_id: str | None


class LicenseBody(Struct):
    """The licence as it stands."""

    id: str
    status: Literal["active", "trial", "not_started", "grace", "expired", "suspended", "revoked"]
    customer: CustomerBody
    plan: str
    product: str
    expires_at: Moment | None
    grace_until: Moment | None


class AgentBody(Struct):
    """The calling agent."""

    id: str
    name: str
    status: Literal["active", "suspended", "expired", "revoked"]
    parent_id: str | None


class RollingBody(Struct):
    """A rolling window, in seconds."""

    rolling: int


class QuotaBody(Struct):
    """Where a quota stands in its current period; in a rolling window `resets_at` is when something comes free."""

    id: str
    meter: str
    filter: dict[str, str]
    scope: Literal["agent", "license", "customer", "tenant"]
    mode: Literal["hard", "soft"]
    period: str | RollingBody
    limit: Amount
    top_ups: Amount
    carried_over: Amount
    used: Amount
    held: Amount
    remaining: Amount
    state: Literal["ok", "near_limit", "exceeded", "overage"]
    resets_at: Moment | None


class Nothing(Struct):
    """There is nothing to say."""


class ActivationBody(Struct):
    """The activation of the fingerprint or instance that was sent."""

    id: str
    fingerprint: str | None
    instance: str | None
    expires_at: Moment | None


class ValidateAnswer(Struct):
    """Whether the licence holds; of the reasons and warnings in `codes` the weightiest that blocks is `code`."""

    valid: bool
    code: str
    codes: list[ReasonBody]
    license: LicenseBody
    agent: AgentBody | None
    features: dict[str, Feature]
    quotas: list[QuotaBody]
    activation: ActivationBody | None
    valid_until: Annotated[
        Moment | None, Meta(description="Until then the clock alone changes nothing in this answer.")
    ]
    server_time: Moment
    nonce: str | None


class HeldLineBody(Struct):
    """What a hold reserves of one meter."""

    meter: str
    quantity: Amount
    dimensions: dict[str, str]


class HoldBody(Struct):
    """A reservation. `authorize_id` is the id that it was asked for with; `settled` counts by line of `usage`."""

    id: str
    expires_at: Moment
    usage: list[HeldLineBody]
    status: Literal["open", "settled", "released", "expired"]
    authorize_id: str
    on_excess: Literal["count", "cap", "reject"]
    settled: list[Amount]


class AuthorizeAnswer(Struct):
    """Whether it is allowed; where it is, what was asked is counted or held."""

    allowed: bool
    code: str
    codes: list[ReasonBody]
    quotas: list[QuotaBody]
    hold: HoldBody | None
    event_ids: list[str]
    replayed: bool


# A thousand go at once and refer to nothing that refers to them: the garbage collector need not go through them.
class UsageResult(Struct, omit_defaults=True, gc=False):
    """What became of one event."""

    id: str | None
    status: Literal["recorded", "duplicate", "conflict", "rejected"]
    event_id: str | None = None
    code: str | None = None
    detail: str | None = None
    flags: Annotated[
        list[str],
        Meta(
            description="`not_counted`: its meter's filter leaves it out. `rate_missing`: a cost meter has no rate for "
            "it. `dimension_overflow`: a value counts as `__other__`."
        ),
    ] = []


class UsageAnswer(Struct):
    """What became of each event, in order, and where the quotas of the meters concerned stand."""

    recorded: int
    duplicates: int
    conflicts: int
    rejected: int
    results: list[UsageResult]
    quotas: list[QuotaBody]


class HoldAnswer(Struct):
    """A hold after what was done to it; `event_ids` are the events that a settlement counted."""

    hold: HoldBody
    event_ids: list[str]
    quotas: list[QuotaBody]
    replayed: bool


class HoldList(Struct):
    """The caller's open holds, newest first."""

    data: list[HoldBody]
    next_cursor: str | None


class QuotaList(Struct):
    """Every quota that holds for the caller: agent, parents, license, customer, tenant, then by meter."""

    data: list[QuotaBody]
    next_cursor: str | None


class RateLimitBody(Struct):
    """A rate limit and what is left of it; more in `reset_seconds`."""

    level: Literal["agent", "license", "customer", "tenant"]
    limit: int
    window: int
    burst: int
    remaining: int
    reset_seconds: int


class TenantBody(Struct):
    """The vendor's workspace."""

    id: str
    slug: str
    status: str
    mode: Literal["live", "test"]
    timezone: str


class SelfAnswer(Struct):
    """Who the caller is, and all that holds for it."""

    agent: AgentBody | None
    license: LicenseBody
    customer: CustomerBody
    tenant: TenantBody
    valid: bool
    code: str
    codes: list[ReasonBody]
    features: dict[str, Feature]
    quotas: list[QuotaBody]
    rate_limits: list[RateLimitBody]
    key_expires_at: Moment | None
    valid_until: Moment | None
    server_time: Moment


class UsageRowBody(Struct):
    """What one group used in [start, end)."""

    start: Moment
    end: Moment
    group: dict[str, str | None]
    value: Amount


class UsageReportBody(Struct):
    """Usage by time and group; `total` is the sum of the rows."""

    data: list[UsageRowBody]
    total: Amount
    next_cursor: str | None


def encode(answer: Struct) -> bytes:
    """An answer's bytes."""
    return _ENCODER.encode(answer)
