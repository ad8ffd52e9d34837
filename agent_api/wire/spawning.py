"""`agents`: sub-agents, as sent and as answered."""

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from agent_api.wire.answers import Moment
from agent_api.wire.requests import Dimensions, Quantity, Text
from common.errors import Invalid
from common.json_decoding import decode_json
from common.text import TextError, check_text

MAX_NAME: Final = 200
MAX_REASON: Final = 500
MAX_TTL: Final = 10 * 366 * 86_400


class RateLimitRequest(Struct, forbid_unknown_fields=True):
    """At most `limit` calls in `window` seconds, `burst` of them at once (as many as `limit` unless said)."""

    limit: Annotated[int, Meta(ge=1)]
    window: Annotated[int, Meta(ge=1)]
    burst: Annotated[int, Meta(ge=1)] | None = None


class RollingRequest(Struct, forbid_unknown_fields=True):
    """A rolling window, in seconds."""

    rolling: Annotated[int, Meta(ge=1, le=366 * 86_400)]


class BudgetRequest(Struct, forbid_unknown_fields=True):
    """A quota of the new agent's own; hard unless it says otherwise."""

    meter: Text
    limit: Quantity
    period: Literal["hour", "day", "week", "month", "year", "lifetime"] | RollingRequest
    mode: Literal["hard", "soft"] | None = None
    filter: Dimensions | UnsetType = UNSET


class SpawnRequest(Struct, forbid_unknown_fields=True):
    """A sub-agent; what is left out is as the parent has it."""

    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
    ttl: Annotated[int, Meta(ge=1, le=MAX_TTL, description="Seconds, after which it has ended.")] | None = None
    features: (
        Annotated[list[Text], Meta(max_length=500, description="Those of the parent's that it may use.")] | None
    ) = None
    rate_limits: Annotated[list[RateLimitRequest], Meta(max_length=20)] | None = None
    quotas: Annotated[list[BudgetRequest], Meta(max_length=100)] | None = None


class RevokeAgentRequest(Struct, forbid_unknown_fields=True):
    """Why is optional."""

    reason: Annotated[str, Meta(max_length=MAX_REASON)] | None = None


class RateLimitRule(Struct):
    """A rate limit."""

    limit: int
    window: int
    burst: int


class SubAgentBody(Struct):
    """A sub-agent. `features` null: all that the parent has; `depth` counts from the topmost agent, which is 1."""

    id: str
    license: str
    parent_id: str | None
    name: str
    kind: Literal["agent", "fleet"]
    status: Literal["active", "suspended", "expired", "revoked"]
    depth: int
    expires_at: Moment | None
    features: list[str] | None
    rate_limits: list[RateLimitRule]
    created_at: Moment


class SpawnAnswer(Struct):
    """A sub-agent and its key, which is in this answer only."""

    agent: SubAgentBody
    key: str

    def __repr__(self) -> str:
        return f"SpawnAnswer(agent={self.agent.id!r})"


class SubAgentList(Struct):
    """The caller's own sub-agents, newest first, without those that were put away."""

    data: list[SubAgentBody]
    next_cursor: str | None


def read_spawn(raw: bytes) -> SpawnRequest:
    """Decode a body that asks for a sub-agent. Raises BadRequest, Invalid."""
    asked = decode_json(raw, type=SpawnRequest)
    _clean("name", asked.name, MAX_NAME)
    for place, code in enumerate(asked.features or ()):
        _clean(f"features.{place}", code, MAX_NAME)
    return asked


def read_revoke(raw: bytes) -> RevokeAgentRequest:
    """Decode a body that revokes a sub-agent; it may be empty. Raises BadRequest, Invalid."""
    asked = decode_json(raw, type=RevokeAgentRequest, empty_as_object=True)
    _clean("reason", asked.reason or "", MAX_REASON)
    return asked


def _clean(field: str, text: Any, max_length: int) -> None:
    try:
        check_text(text, max_length=max_length)
    except TextError as error:
        raise Invalid.field(field, error.code, error.detail) from None
