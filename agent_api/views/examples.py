"""Bodies and answers as they are on the wire, for the OpenAPI document."""

from typing import Any, Final

from agent_api.operations import Example

_LICENSE = "lic_01kaqj5k8hf4e9w8zq5m0x3d7a"
_AGENT = "agt_01kaqj5k8hf4e9w8zq5m0x3d7b"
_CUSTOMER = "cus_01kaqj5k8hf4e9w8zq5m0x3d7c"
_QUOTA = "quo_01kaqj5k8hf4e9w8zq5m0x3d7d"
_HOLD = "hld_01kaqj5k8hf4e9w8zq5m0x3d7e"
_EVENT = "evt_01kaqj5k8hf4e9w8zq5m0x3d7f"

_LICENSE_BODY = {
    "id": _LICENSE,
    "status": "active",
    "customer": {"id": _CUSTOMER, "external_id": "acme"},
    "plan": "pro",
    "product": "researcher",
    "expires_at": "2027-11-01T00:00:00Z",
    "grace_until": None,
}
_AGENT_BODY = {"id": _AGENT, "name": "indexer", "status": "active", "parent_id": None}
_FEATURES = {"max_tools": 20, "models": ["large", "small"], "web_search": True}
_QUOTA_BODY: dict[str, Any] = {
    "id": _QUOTA,
    "meter": "tokens",
    "filter": {},
    "scope": "license",
    "mode": "hard",
    "period": "month",
    "limit": "1000000",
    "top_ups": "0",
    "carried_over": "0",
    "used": "1532",
    "held": "0",
    "remaining": "998468",
    "state": "ok",
    "resets_at": "2026-12-01T00:00:00Z",
}
_FULL_QUOTA = _QUOTA_BODY | {"used": "999900", "remaining": "100", "state": "near_limit"}
_HOLD_BODY: dict[str, Any] = {
    "id": _HOLD,
    "expires_at": "2026-11-23T09:05:00Z",
    "usage": [{"meter": "tokens", "quantity": "1200", "dimensions": {"model": "large"}}],
    "status": "open",
    "authorize_id": "step-42",
    "on_excess": "count",
    "settled": ["0"],
}


def _reason(code: str, message: str, **more: Any) -> dict[str, Any]:
    return {"code": code, "message": message, "blocks": True, "retryable": False, "until": None, **more}


def problem(status: int, title: str, code: str, detail: str, **more: Any) -> dict[str, Any]:
    """A refusal as it is answered."""
    return {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": "0b0c6c3a5a3f4d0f9d0d6e6b7f1c2a3d",
        "errors": [],
        **more,
    }


def _field(field: str, code: str, detail: str) -> dict[str, Any]:
    errors = [{"field": field, "code": code, "detail": detail}]
    return problem(422, "Unprocessable Content", "invalid", f"{field}: {detail}", errors=errors)


VALIDATE_REQUEST: Final = {
    "features": ["web_search"],
    "fingerprint": "host-7",
    "product": "researcher",
    "nonce": "n-1",
}
VALID: Final[dict[str, Any]] = {
    "valid": True,
    "code": "valid",
    "codes": [],
    "license": _LICENSE_BODY,
    "agent": _AGENT_BODY,
    "features": _FEATURES,
    "quotas": [_QUOTA_BODY],
    "activation": None,
    "valid_until": "2027-11-01T00:00:00Z",
    "server_time": "2026-11-23T09:00:00Z",
    "nonce": "n-1",
}
AUTHORIZE_REQUEST: Final = {
    "id": "step-42",
    "feature": "models",
    "value": "large",
    "usage": [{"meter": "tokens", "quantity": "1200", "dimensions": {"model": "large"}}],
    "mode": "consume",
}
HOLD_REQUEST: Final = AUTHORIZE_REQUEST | {"mode": "hold", "ttl": 300, "on_excess": "count"}
ALLOWED: Final[dict[str, Any]] = {
    "allowed": True,
    "code": "allowed",
    "codes": [],
    "quotas": [_QUOTA_BODY],
    "hold": None,
    "event_ids": [_EVENT],
    "replayed": False,
}
HELD: Final = ALLOWED | {
    "event_ids": [],
    "hold": _HOLD_BODY,
    "quotas": [_QUOTA_BODY | {"held": "1200", "remaining": "997268"}],
}
_NO_ROOM = _reason(
    "quota_exceeded",
    "The license's quota of tokens of this month has no room for 1200: 999900 of 1000000 is used. It begins anew at"
    " 2026-12-01T00:00:00+00:00; ask for less, wait, or ask for more quota.",
    retryable=True,
    until="2026-12-01T00:00:00Z",
    meter="tokens",
    scope="license",
    quota=_QUOTA,
    limit="1000000",
    used="999900",
    held="0",
    asked="1200",
    remaining="100",
    resets_at="2026-12-01T00:00:00Z",
)
_REFUSED = ALLOWED | {"allowed": False, "event_ids": []}
NO_ROOM: Final = _REFUSED | {"code": "quota_exceeded", "codes": [_NO_ROOM], "quotas": [_FULL_QUOTA]}
CROWDED: Final = _REFUSED | {
    "code": "concurrency_exceeded",
    "codes": [
        _reason(
            "concurrency_exceeded",
            "The license has 20 holds open, and may have 20. Settle or release one, or wait until one expires.",
            retryable=True,
            until="2026-11-23T09:05:00Z",
            scope="license",
            limit="20",
            current=20,
        )
    ],
}
USAGE_REQUEST: Final = {
    "id": "call-7f3a",
    "meter": "tokens",
    "quantity": "1532",
    "occurred_at": "2026-11-23T09:00:00Z",
    "dimensions": {"model": "large"},
}
USAGE_BATCH: Final = {"events": [USAGE_REQUEST, {"id": "call-7f3b", "meter": "no_such_meter", "quantity": "1"}]}
RECORDED: Final = {
    "recorded": 1,
    "duplicates": 0,
    "conflicts": 0,
    "rejected": 0,
    "results": [{"id": "call-7f3a", "status": "recorded", "event_id": _EVENT}],
    "quotas": [_QUOTA_BODY],
}
PARTLY_RECORDED: Final = RECORDED | {
    "rejected": 1,
    "results": [
        *RECORDED["results"],  # type: ignore[misc] # a list, as it stands there
        {"id": "call-7f3b", "status": "rejected", "code": "unknown_meter", "detail": "There is no such meter."},
    ],
}
SETTLE_REQUEST: Final = {"usage": [{"meter": "tokens", "quantity": "870"}]}
SETTLE_PART: Final = {"id": "chunk-1", "final": False, "usage": [{"meter": "tokens", "quantity": "300"}]}
SETTLED: Final = {
    "hold": _HOLD_BODY | {"status": "settled", "settled": ["870"]},
    "event_ids": [_EVENT],
    "quotas": [_QUOTA_BODY | {"used": "2402", "remaining": "997598"}],
    "replayed": False,
}
RELEASED: Final = SETTLED | {
    "hold": _HOLD_BODY | {"status": "released"},
    "event_ids": [],
    "quotas": [_QUOTA_BODY],
}
EXTENDED: Final = RELEASED | {"hold": _HOLD_BODY, "quotas": HELD["quotas"]}
HOLDS: Final = {"data": [_HOLD_BODY], "next_cursor": None}
QUOTAS: Final = {"data": [_QUOTA_BODY], "next_cursor": None}
SELF: Final = {
    "agent": _AGENT_BODY,
    "license": _LICENSE_BODY,
    "customer": _LICENSE_BODY["customer"],
    "tenant": {
        "id": "ten_01kaqj5k8hf4e9w8zq5m0x3d79",
        "slug": "acme-agents",
        "status": "active",
        "mode": "live",
        "timezone": "UTC",
    },
    "valid": True,
    "code": "valid",
    "codes": [],
    "features": _FEATURES,
    "quotas": [_QUOTA_BODY],
    "rate_limits": [{"level": "agent", "limit": 600, "window": 60, "burst": 600, "remaining": 599, "reset_seconds": 1}],
    "key_expires_at": None,
    "valid_until": "2027-11-01T00:00:00Z",
    "server_time": "2026-11-23T09:00:00Z",
}
USAGE_REPORT: Final = {
    "data": [
        {
            "start": "2026-11-23T09:00:00Z",
            "end": "2026-11-23T10:00:00Z",
            "group": {"agent": _AGENT, "model": "large"},
            "value": "1532",
        }
    ],
    "total": "1532",
    "next_cursor": None,
}

_MALFORMED = Example(
    "malformed", problem(400, "Bad Request", "malformed_json", "The body is not JSON: line 1, column 2.")
)
_UNAUTHORIZED = Example("dead key", problem(401, "Unauthorized", "unauthorized", "No valid key was given."))
_WRONG_KIND = Example(
    "wrong kind of key",
    problem(403, "Forbidden", "wrong_key_kind", "This key is of another kind than this call takes."),
)
_WRONG_NETWORK = Example(
    "from another network",
    problem(
        403,
        "Forbidden",
        "network_not_allowed",
        "This key may not be used from the address that this call came from.",
    ),
)
_TOO_LARGE = Example(
    "too large", problem(413, "Content Too Large", "body_too_large", "A body has at most 1048576 bytes.")
)
_WRONG_TYPE = Example(
    "wrong media type",
    problem(415, "Unsupported Media Type", "unsupported_media_type", "The body must be application/json."),
)
_UNKNOWN_FIELD = Example("unknown field", _field("colour", "unknown_field", "This field is not known here."))
_LIMITED = Example(
    "rate limited",
    problem(
        429,
        "Request cannot be satisfied as assigned quota has been exceeded",
        "rate_limited",
        "The agent's rate limit of 600 in 60 seconds ran out.",
        type="https://iana.org/assignments/http-problem-types#quota-exceeded",
        level="agent",
        **{"violated-policies": ["agent"]},
    ),
)
_AWAY = Example(
    "store away",
    problem(503, "Service Unavailable", "store_unreachable", "A store cannot be reached. Nothing was done."),
)
UNKNOWN_METER: Final = Example("unknown meter", _field("usage.0.meter", "unknown_meter", "There is no such meter."))
NEGATIVE: Final = Example(
    "negative quantity", _field("usage.0.quantity", "quantity_negative", "A quantity is not negative.")
)
LONE_REJECTED: Final = Example(
    "one event, rejected",
    _field("occurred_at", "event_too_old", "Events are accepted from 2026-10-19T09:00:00+00:00 on.")
    | {"code": "event_too_old"},
)
UNKNOWN_LICENSE_KEY: Final = Example(
    "unknown licence key",
    problem(404, "Not Found", "license_key_unknown", "There is no such license key here."),
)
UNKNOWN_HOLD: Final = Example("unknown hold", problem(404, "Not Found", "not_found", "There is no such hold."))
ID_CONFLICT: Final = Example(
    "id used before",
    problem(409, "Conflict", "id_conflict", "This id was used for something else. Take a new id for a new step."),
)
HOLD_SETTLED: Final = Example(
    "settled before", problem(409, "Conflict", "hold_settled", "The hold is settled.", hold=_HOLD)
)
HOLD_EXPIRED: Final = Example(
    "expired before", problem(409, "Conflict", "hold_expired", "The hold is expired.", hold=_HOLD)
)
HOLD_RELEASED: Final = Example(
    "released before", problem(409, "Conflict", "hold_released", "The hold is released.", hold=_HOLD)
)
EXCEEDS_HOLD: Final = Example(
    "more than is held",
    problem(
        422,
        "Unprocessable Content",
        "exceeds_hold",
        "This is 130 more than is held, and the hold rejects excess. Nothing was counted.",
    ),
)
ID_MISMATCH: Final = Example(
    "two ids", _field("id", "id_mismatch", "The body's id and the Idempotency-Key differ. Send one of them.")
)
KEY_REUSED: Final = Example(
    "the Idempotency-Key of another request",
    problem(
        422,
        "Unprocessable Content",
        "idempotency_key_reused",
        "This Idempotency-Key came with another request before. Take a new one.",
    ),
)
GUESSED: Final = Example(
    "too many unknown licence keys",
    problem(
        429,
        "Request cannot be satisfied as assigned quota has been exceeded",
        "too_many_unknown_keys",
        "Too many license keys that do not exist came from here. Check yours, and wait.",
        type="https://iana.org/assignments/http-problem-types#quota-exceeded",
    ),
)
OUTCOME_UNKNOWN: Final = Example(
    "connection lost in a commit",
    problem(
        503,
        "Service Unavailable",
        "outcome_unknown",
        "The outcome is unknown. Repeat with the same id.",
        id="step-42",
    ),
)
LICENSE_REFUSES: Final = Example(
    "licence suspended",
    problem(403, "Forbidden", "license_suspended", "The license is suspended. Ask the vendor to reinstate it."),
)
UNKNOWN_PARAMETER: Final = Example(
    "unknown parameter", _field("colour", "unknown_field", "This parameter is not known here.")
)

#: What every call can be refused with.
COMMON_PROBLEMS: Final = {
    401: (_UNAUTHORIZED,),
    403: (_WRONG_KIND, _WRONG_NETWORK),
    429: (_LIMITED,),
    503: (_AWAY,),
}
#: What every call with a body can be refused with.
BODY_PROBLEMS: Final = COMMON_PROBLEMS | {
    400: (_MALFORMED,),
    413: (_TOO_LARGE,),
    415: (_WRONG_TYPE,),
    422: (_UNKNOWN_FIELD,),
}
