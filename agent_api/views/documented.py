"""The operations of this door, as the OpenAPI document describes them."""

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta, Struct

from agent_api.operations import Example, Operation, Parameter
from agent_api.views import examples, examples_of_reasons
from agent_api.wire import answers, requests
from agent_api.wire.usage import CLOUD_EVENT, CLOUD_EVENTS
from common.http_json import JSON
from common.json_batches import MAX_ITEMS
from common.pagination import DEFAULT_LIMIT, MAX_LIMIT

_DECIDING: Final = "Deciding"
_HOLDS: Final = "Holds"
_USAGE: Final = "Usage"
_READING: Final = "Reading"

_BODY: Final = frozenset({400, 413, 415, 422})
_IDEMPOTENCY_KEY: Final = Parameter(
    "Idempotency-Key",
    "Taken as the body's `id`; another `id` beside it is refused.",
    schema={"type": "string", "maxLength": 255},
    place="header",
)


class UsageBatch(Struct):
    """Up to 1,000 events; a fault in one is that one's own."""

    events: Annotated[list[requests.ReportedEvent], Meta(max_length=MAX_ITEMS)]


def _problems(
    base: Mapping[int, tuple[Example, ...]], more: Mapping[int, tuple[Example, ...]]
) -> dict[int, tuple[Example, ...]]:
    return {status: (*base.get(status, ()), *more.get(status, ())) for status in base.keys() | more.keys()}


VALIDATE: Final = Operation(
    name="validate",
    summary="Is this licence good?",
    description=(
        "Reads only. An answer of no is a 200 with `valid: false` and the same members; `codes` holds every reason"
        " and warning with a next step. An exhausted quota is a warning and makes no licence invalid."
        " With a publishable key the body names the licence by its key."
    ),
    tag=_DECIDING,
    bodies={JSON: requests.ValidateRequest},
    body_required=False,
    answer=answers.ValidateAnswer,
    requests=(Example("a feature", examples.VALIDATE_REQUEST), Example("nothing in particular", {})),
    answers=(Example("valid", examples.VALID), *examples_of_reasons.VALIDATED),
    refusals=_BODY | {404},
    problems=_problems(examples.BODY_PROBLEMS, {404: (examples.UNKNOWN_LICENSE_KEY,), 429: (examples.GUESSED,)}),
)
AUTHORIZE: Final = Operation(
    name="authorize",
    summary="May I do this now? Count it, or hold it.",
    description=(
        "All or nothing over all meters and every level: agent, parents, licence, customer, tenant. A refusal is a"
        " 200 with `allowed: false`. With an `id` a repeat counts once: the licence is decided afresh, and quotas"
        " never refuse it; another payload is 409 `id_conflict`. `hold` reserves for `ttl` seconds (300 by default)."
    ),
    tag=_DECIDING,
    bodies={JSON: requests.AuthorizeRequest},
    body_required=False,
    answer=answers.AuthorizeAnswer,
    parameters=(_IDEMPOTENCY_KEY,),
    requests=(Example("consume", examples.AUTHORIZE_REQUEST), Example("hold", examples.HOLD_REQUEST)),
    answers=(
        Example("allowed", examples.ALLOWED),
        Example("held", examples.HELD),
        Example("quota exceeded", examples.NO_ROOM),
        Example("too many holds open", examples.CROWDED),
        *examples_of_reasons.AUTHORIZED,
    ),
    refusals=_BODY | {409},
    problems=_problems(
        examples.BODY_PROBLEMS,
        {
            409: (examples.ID_CONFLICT,),
            422: (examples.UNKNOWN_METER, examples.NEGATIVE, examples.ID_MISMATCH),
            503: (examples.OUTCOME_UNKNOWN,),
        },
    ),
)
RECORD: Final = Operation(
    name="record_usage",
    summary="This much has happened.",
    description=(
        "One event, up to 1,000, or CloudEvents 1.0 (the event id is `source`, a space, `id`; `type` one of the"
        " meter's event types). Facts are recorded above quotas and under suspended licences, too. An event in a"
        " batch that does not hold is its own result; a lone one answers 409 or 422."
    ),
    tag=_USAGE,
    bodies={
        JSON: (requests.ReportedEvent, UsageBatch),
        CLOUD_EVENT: requests.CloudEvent,
        CLOUD_EVENTS: Annotated[list[requests.CloudEvent], Meta(max_length=MAX_ITEMS)],
    },
    answer=answers.UsageAnswer,
    requests=(Example("one event", examples.USAGE_REQUEST), Example("a batch", examples.USAGE_BATCH)),
    answers=(Example("recorded", examples.RECORDED), Example("partly", examples.PARTLY_RECORDED)),
    refusals=_BODY | {409},
    problems=_problems(
        examples.BODY_PROBLEMS,
        {409: (examples.ID_CONFLICT,), 422: (examples.LONE_REJECTED,), 503: (examples.OUTCOME_UNKNOWN,)},
    ),
)
READ_USAGE: Final = Operation(
    name="read_usage",
    summary="What did I use?",
    description="Usage of the caller and of the agents below it, by time and group, exact to the edges of the range.",
    tag=_READING,
    answer=answers.UsageReportBody,
    parameters=(
        Parameter("meter", "Code or id.", required=True),
        Parameter("from", "Inclusive.", required=True, schema={"type": "string", "format": "date-time"}),
        Parameter("to", "Exclusive; now by default.", schema={"type": "string", "format": "date-time"}),
        Parameter("window", "One row for each.", schema={"type": "string", "enum": ["hour", "day", "week", "month"]}),
        Parameter("group_by", "Of `agent`, `license`, `customer` and the meter's dimensions, separated by commas."),
        Parameter("filter[…]", "Only events with this value of the dimension that is named, such as `filter[model]`."),
        Parameter(
            "top",
            "With `group_by`: only so many groups, those with the most; the others are one, named `__other__`.",
            schema={"type": "integer", "minimum": 1, "maximum": 1000},
        ),
        Parameter("timezone", "Whose clocks windows follow; the workspace's by default."),
    ),
    answers=(Example("by hour", examples.USAGE_REPORT),),
    refusals=frozenset({422}),
    problems=_problems(examples.COMMON_PROBLEMS, {422: (examples.UNKNOWN_PARAMETER,)}),
)
LIST_HOLDS: Final = Operation(
    name="list_holds",
    summary="My open holds",
    description=(
        "Newest first: for an agent that was restarted and wants to settle what it had reserved. One's own only: a"
        " parent may settle, release and extend a hold of an agent below it by its id, and does not find it here."
    ),
    tag=_HOLDS,
    answer=answers.HoldList,
    parameters=(
        Parameter(
            "limit",
            "So many at once.",
            schema={"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        ),
        Parameter("cursor", "The `next_cursor` of the page before."),
    ),
    answers=(Example("one", examples.HOLDS),),
    refusals=frozenset({422}),
    problems=_problems(examples.COMMON_PROBLEMS, {422: (examples.UNKNOWN_PARAMETER,)}),
)
SETTLE: Final = Operation(
    name="settle_hold",
    summary="Count what was really used, give the rest back",
    description=(
        "A part (`final: false`, with an `id`) is counted and the hold goes on. Settling twice with the same body is"
        " the same answer. More than was held is counted, capped or refused, by the hold's `on_excess`."
    ),
    tag=_HOLDS,
    bodies={JSON: requests.SettleRequest},
    answer=answers.HoldAnswer,
    parameters=(
        Parameter(
            "Idempotency-Key",
            "The `id` of a part, where the body has none.",
            schema={"type": "string", "maxLength": 255},
            place="header",
        ),
    ),
    requests=(Example("all of it", examples.SETTLE_REQUEST), Example("a part", examples.SETTLE_PART)),
    answers=(Example("settled", examples.SETTLED),),
    refusals=_BODY | {404, 409},
    problems=_problems(
        examples.BODY_PROBLEMS,
        {
            404: (examples.UNKNOWN_HOLD,),
            409: (examples.HOLD_SETTLED, examples.HOLD_RELEASED, examples.HOLD_EXPIRED, examples.ID_CONFLICT),
            422: (examples.EXCEEDS_HOLD,),
            503: (examples.OUTCOME_UNKNOWN,),
        },
    ),
)
RELEASE: Final = Operation(
    name="release_hold",
    summary="Give all of it back",
    description="Releasing twice, or what has expired, is the same as once.",
    tag=_HOLDS,
    bodies={JSON: requests.EmptyRequest},
    body_required=False,
    answer=answers.HoldAnswer,
    answers=(Example("released", examples.RELEASED),),
    refusals=_BODY | {404, 409},
    problems=_problems(examples.BODY_PROBLEMS, {404: (examples.UNKNOWN_HOLD,), 409: (examples.HOLD_SETTLED,)}),
)
EXTEND: Final = Operation(
    name="extend_hold",
    summary="Let it go on for `ttl` seconds from now",
    description="Only while the licence holds; else 403 with the code of what stands against it.",
    tag=_HOLDS,
    bodies={JSON: requests.ExtendRequest},
    answer=answers.HoldAnswer,
    requests=(Example("five minutes", {"ttl": 300}),),
    answers=(Example("extended", examples.EXTENDED),),
    refusals=_BODY | {404, 409},
    problems=_problems(
        examples.BODY_PROBLEMS,
        {
            403: (examples.LICENSE_REFUSES,),
            404: (examples.UNKNOWN_HOLD,),
            409: (examples.HOLD_SETTLED, examples.HOLD_RELEASED, examples.HOLD_EXPIRED),
        },
    ),
)
READ_SELF: Final = Operation(
    name="read_self",
    summary="Who am I?",
    description="The caller with its licence, customer, features, quotas and rate limits.",
    tag=_READING,
    answer=answers.SelfAnswer,
    answers=(Example("an agent", examples.SELF),),
    refusals=frozenset({422}),
    problems=_problems(examples.COMMON_PROBLEMS, {422: (examples.UNKNOWN_PARAMETER,)}),
)
READ_QUOTAS: Final = Operation(
    name="read_quotas",
    summary="What is left?",
    description="Every quota that holds for the caller, in the order agent, parents, license, customer, tenant.",
    tag=_READING,
    answer=answers.QuotaList,
    answers=(Example("one", examples.QUOTAS),),
    refusals=frozenset({422}),
    problems=_problems(examples.COMMON_PROBLEMS, {422: (examples.UNKNOWN_PARAMETER,)}),
)
