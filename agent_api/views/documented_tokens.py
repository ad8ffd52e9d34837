"""The operation `tokens`, as the OpenAPI document describes it."""

from typing import Any, Final

from agent_api.operations import Example, Operation, Parameter
from agent_api.views import examples
from agent_api.wire.tokens import TokenAnswer, TokenRequest
from common.http_json import JSON

_TOKEN_REQUEST: Final[dict[str, Any]] = {
    "ttl": 3600,
    "audience": "researcher",
    "public_key": {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    "lease": [{"meter": "tokens", "quantity": "20000"}],
}
_TOKEN_ANSWER: Final[dict[str, Any]] = {
    "token": "eyJhbGciOiJFZERTQSIsImtpZCI6IuKApiIsInR5cCI6ImxpY2Vuc2Urand0In0.e30.AAAA",
    "token_id": "tok_01kaqj5k8hf4e9w8zq5m0x3d7g",
    "expires_at": "2026-11-23T10:00:00Z",
    "hold_id": "hld_01kaqj5k8hf4e9w8zq5m0x3d7e",
}


_NO_ROOM: Final = examples.problem(
    403,
    "Forbidden",
    "quota_exceeded",
    "This license's tokens are used up for this month. Nothing was set aside.",
    meter="tokens",
    scope="license",
    remaining="100",
    asked="20000",
)
_NOT_SIGNED: Final = examples.problem(
    403,
    "Forbidden",
    "license_not_signed",
    "The license is carried as a key only. Ask the vendor for one of kind signed or both.",
)
_PRIVATE: Final = examples.problem(
    422,
    "Unprocessable Content",
    "invalid",
    "public_key: The key carries private members (d): send its public half only, and replace it.",
) | {
    "errors": [
        {
            "field": "public_key",
            "code": "jwk_not_public",
            "detail": "The key carries private members (d): send its public half only, and replace it.",
        }
    ]
}

ISSUE_TOKEN: Final = Operation(
    name="issue_token",
    summary="A signed licence for offline use",
    description=(
        "A JWT of type `license+jwt`, signed with Ed25519, that holds without a connection until it expires: at most"
        " the plan's `token_ttl`, the licence's and every agent's own end. `public_key` binds it to a holder (`cnf`),"
        " `fingerprint` to a machine. `lease` sets usage aside, all or nothing: report it as `usage` with `hold_id`,"
        " and release the hold when it is no longer needed, which revokes the token."
    ),
    tag="Signed licences",
    bodies={JSON: TokenRequest},
    body_required=False,
    answer=TokenAnswer,
    statuses=(201,),
    parameters=(
        Parameter(
            "Idempotency-Key",
            "The same key and body is answered the same for 24 hours.",
            schema={"type": "string", "maxLength": 255},
            place="header",
        ),
    ),
    requests=(Example("with a lease", _TOKEN_REQUEST), Example("as the plan has it", {})),
    answers=(Example("signed", _TOKEN_ANSWER),),
    refusals=frozenset({400, 409, 413, 415, 422}),
    problems={
        **examples.BODY_PROBLEMS,
        403: (
            *examples.BODY_PROBLEMS[403],
            examples.LICENSE_REFUSES,
            Example("not signed", _NOT_SIGNED),
            Example("no room for the lease", _NO_ROOM),
        ),
        409: (
            Example(
                "still running",
                examples.problem(
                    409,
                    "Conflict",
                    "idempotency_in_progress",
                    "The first call with this Idempotency-Key is still running.",
                ),
            ),
        ),
        422: (
            *examples.BODY_PROBLEMS[422],
            examples.KEY_REUSED,
            examples.UNKNOWN_METER,
            Example("a private key", _PRIVATE),
        ),
    },
)
