"""`agents`, as the OpenAPI document describes it."""

from typing import Any, Final

from agent_api.operations import Example, Operation, Parameter
from agent_api.views import examples
from agent_api.wire.spawning import RevokeAgentRequest, SpawnAnswer, SpawnRequest, SubAgentBody, SubAgentList
from common.http_json import JSON
from common.pagination import DEFAULT_LIMIT, MAX_LIMIT

_TAG: Final = "Sub-agents"
_PARENT: Final = "agt_01kaqj5k8hf4e9w8zq5m0x3d7b"

_SUB_AGENT: Final[dict[str, Any]] = {
    "id": "agt_01kaqj5k8hf4e9w8zq5m0x3d7h",
    "license": "lic_01kaqj5k8hf4e9w8zq5m0x3d7a",
    "parent_id": _PARENT,
    "name": "worker-1",
    "kind": "agent",
    "status": "active",
    "depth": 2,
    "expires_at": "2026-11-23T09:10:00Z",
    "features": ["web_search"],
    "rate_limits": [{"limit": 60, "window": 60, "burst": 60}],
    "created_at": "2026-11-23T09:00:00Z",
}
_SPAWN: Final[dict[str, Any]] = {
    "name": "worker-1",
    "ttl": 600,
    "features": ["web_search"],
    "rate_limits": [{"limit": 60, "window": 60}],
    "quotas": [{"meter": "tokens", "limit": "50000", "period": "lifetime", "mode": "hard"}],
}


_EXCEEDS: Final = examples.problem(
    403,
    "Forbidden",
    "exceeds_parent",
    "A child has at most what its parent has. features.0: The parent does not have the feature 'web_search'.",
    errors=[
        {
            "field": "features.0",
            "code": "exceeds_parent",
            "detail": "The parent does not have the feature 'web_search'.",
        }
    ],
)
_FULL: Final = examples.problem(
    403,
    "Forbidden",
    "agent_limit_reached",
    "The license's plan allows 50 agents, and 50 live. Revoke one, or change the plan.",
    limit=50,
    current=50,
)
_DEEP: Final = examples.problem(
    403, "Forbidden", "agent_depth_reached", "At most 8 agents stand below one another.", limit=8
)
_RUNNING: Final = examples.problem(
    409, "Conflict", "idempotency_in_progress", "The first call with this Idempotency-Key is still running."
)
_UNKNOWN: Final = examples.problem(404, "Not Found", "not_found", "There is no such agent below this one.")
_IDEMPOTENCY_KEY: Final = Parameter(
    "Idempotency-Key",
    "The same key and body is answered the same for 24 hours, a new agent's key included.",
    schema={"type": "string", "maxLength": 255},
    place="header",
)

SPAWN_AGENT: Final = Operation(
    name="spawn_agent",
    summary="Make a sub-agent",
    description=(
        "A child has at most what its parent has: features, rate limits, quotas (compared with the parents' limits of"
        " the same meter and period, not with what is left of them) and life; more is 403 `exceeds_parent`. Its calls"
        " and its usage count on every agent above it. With `ttl` it ends by itself, and its place is free at once;"
        " without, it lives as long as its parent."
    ),
    tag=_TAG,
    bodies={JSON: SpawnRequest},
    answer=SpawnAnswer,
    statuses=(201,),
    parameters=(_IDEMPOTENCY_KEY,),
    requests=(Example("for ten minutes", _SPAWN), Example("as its parent", {"name": "worker-2"})),
    answers=(
        Example("made", {"agent": _SUB_AGENT, "key": "pm_ak_3fLkq8Zr1TyB_9c2VxW7mN4pQ6sR8tU0vY2zA4bC6dE8g1hJ2kL3"}),
    ),
    refusals=frozenset({400, 409, 413, 415, 422}),
    problems={
        **examples.BODY_PROBLEMS,
        403: (
            *examples.BODY_PROBLEMS[403],
            examples.LICENSE_REFUSES,
            Example("more than its parent has", _EXCEEDS),
            Example("no place left", _FULL),
            Example("too far down", _DEEP),
        ),
        409: (Example("still running", _RUNNING),),
        422: (*examples.BODY_PROBLEMS[422], examples.KEY_REUSED, examples.UNKNOWN_METER),
    },
)
LIST_AGENTS: Final = Operation(
    name="list_agents",
    summary="My sub-agents",
    description="Those right below the caller, newest first; ended ones until they are put away.",
    tag=_TAG,
    answer=SubAgentList,
    parameters=(
        Parameter(
            "limit",
            "So many at once.",
            schema={"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        ),
        Parameter("cursor", "The `next_cursor` of the page before."),
    ),
    answers=(Example("one", {"data": [_SUB_AGENT], "next_cursor": None}),),
    refusals=frozenset({422}),
    problems={**examples.COMMON_PROBLEMS, 422: (examples.UNKNOWN_PARAMETER,)},
)
REVOKE_AGENT: Final = Operation(
    name="revoke_agent",
    summary="Revoke a sub-agent",
    description=(
        "For good, with all agents below it: their keys are dead when this answers. Any agent below the caller, at any"
        " depth; others are not found. Twice is the same as once."
    ),
    tag=_TAG,
    bodies={JSON: RevokeAgentRequest},
    body_required=False,
    answer=SubAgentBody,
    parameters=(_IDEMPOTENCY_KEY,),
    requests=(Example("with a reason", {"reason": "done"}), Example("without", {})),
    answers=(Example("revoked", {**_SUB_AGENT, "status": "revoked"}),),
    refusals=frozenset({400, 404, 409, 413, 415, 422}),
    problems={
        **examples.BODY_PROBLEMS,
        404: (Example("not below the caller", _UNKNOWN),),
        409: (Example("still running", _RUNNING),),
    },
)
