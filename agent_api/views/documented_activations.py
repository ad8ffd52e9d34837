"""The operations of `activations`, as the OpenAPI document describes them."""

from typing import Any, Final

from agent_api.operations import Example, Operation, Parameter
from agent_api.views import examples
from agent_api.wire.activations import ActivationAnswer, ActivationRequest, HeartbeatRequest
from agent_api.wire.answers import Nothing
from common.http_json import JSON

_TAG: Final = "Activations"
_BODY: Final = frozenset({400, 413, 415, 422})
_ID: Final = "act_01kaqj5k8hf4e9w8zq5m0x3d7h"

_IDEMPOTENCY_KEY: Final = Parameter(
    "Idempotency-Key",
    "The same key and body gives the first answer again for 24 hours.",
    schema={"type": "string", "maxLength": 255},
    place="header",
)
_LICENSE_KEY: Final = Parameter(
    "X-License-Key",
    "With a publishable key: the licence key, where the body does not bring it as `license_key`.",
    schema={"type": "string", "maxLength": 256},
    place="header",
)
_ANSWER: Final[dict[str, Any]] = {
    "id": _ID,
    "fingerprint": "host-7",
    "instance": None,
    "label": "edge box",
    "expires_at": "2026-11-23T10:00:00Z",
}


_FULL: Final = Example(
    "no place left",
    examples.problem(
        403,
        "Forbidden",
        "activation_limit_reached",
        "The license allows 3 activations, and 3 hold a place. Release one, or ask for more.",
        limit=3,
        current=3,
    ),
)
_UNKNOWN: Final = Example("unknown", examples.problem(404, "Not Found", "not_found", "There is no such activation."))
_RELEASED: Final = Example(
    "released before",
    examples.problem(409, "Conflict", "activation_released", "The activation was released. Activate again."),
)
_RUNNING: Final = Example(
    "the first call is still running",
    examples.problem(
        409,
        "Conflict",
        "idempotency_in_progress",
        "The first call with this Idempotency-Key is still running.",
    ),
)

ACTIVATE: Final = Operation(
    name="activate",
    summary="Take a place for this machine",
    description=(
        "For a machine by its `fingerprint`, or for a copy of the agent by its `instance`. The same name again is the"
        " same activation (200), and its lease begins anew; one that had lapsed takes a place again. A publishable key"
        " goes with a `license_key`."
    ),
    tag=_TAG,
    bodies={JSON: ActivationRequest},
    answer=ActivationAnswer,
    statuses=(200, 201),
    parameters=(_IDEMPOTENCY_KEY, _LICENSE_KEY),
    requests=(
        Example("a machine", {"fingerprint": "host-7", "label": "edge box"}),
        Example("a copy of an agent", {"instance": "copy-3"}),
    ),
    answers=(Example("a lease", _ANSWER), Example("permanent", {**_ANSWER, "expires_at": None})),
    refusals=_BODY | {404, 409},
    problems=dict(examples.BODY_PROBLEMS)
    | {
        403: (*examples.COMMON_PROBLEMS.get(403, ()), examples.LICENSE_REFUSES, _FULL),
        404: (examples.UNKNOWN_LICENSE_KEY,),
        409: (_RUNNING,),
        422: (*examples.BODY_PROBLEMS[422], examples.KEY_REUSED),
        429: (*examples.BODY_PROBLEMS[429], examples.GUESSED),
    },
)
HEARTBEAT: Final = Operation(
    name="heartbeat",
    summary="This machine is still there",
    description=(
        "The lease begins anew, for as long as the plan's `activation_lease`. One that has lapsed gets its place back"
        " if one is free."
    ),
    tag=_TAG,
    bodies={JSON: HeartbeatRequest},
    body_required=False,
    answer=ActivationAnswer,
    parameters=(_IDEMPOTENCY_KEY, _LICENSE_KEY),
    answers=(Example("a lease", _ANSWER),),
    refusals=_BODY | {404, 409},
    problems=dict(examples.BODY_PROBLEMS)
    | {
        403: (*examples.COMMON_PROBLEMS.get(403, ()), examples.LICENSE_REFUSES, _FULL),
        404: (_UNKNOWN, examples.UNKNOWN_LICENSE_KEY),
        409: (_RELEASED, _RUNNING),
        422: (*examples.BODY_PROBLEMS[422], examples.KEY_REUSED),
        429: (*examples.BODY_PROBLEMS[429], examples.GUESSED),
    },
)
GIVE_UP: Final = Operation(
    name="give_up_activation",
    summary="Give the place back",
    description="It is free for another machine at once. Twice is the same as once.",
    tag=_TAG,
    bodies={JSON: HeartbeatRequest},
    body_required=False,
    answer=Nothing,
    statuses=(204,),
    parameters=(_LICENSE_KEY,),
    refusals=_BODY | {404},
    problems=dict(examples.BODY_PROBLEMS)
    | {404: (_UNKNOWN, examples.UNKNOWN_LICENSE_KEY), 429: (*examples.BODY_PROBLEMS[429], examples.GUESSED)},
)
