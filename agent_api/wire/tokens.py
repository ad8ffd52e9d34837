"""`tokens`, as sent and as answered."""

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from agent_api.wire.answers import Moment
from agent_api.wire.requests import MAX_LINES, MAX_TEXT, Text, UsageLine
from common.errors import Invalid
from common.json_decoding import decode_json
from common.text import TextError, check_text

MAX_AUDIENCE: Final = 200


class TokenRequest(Struct, forbid_unknown_fields=True):
    """Everything is optional: `ttl` is the plan's, at most; `audience` is the product."""

    ttl: Annotated[int, Meta(ge=1, le=10**9, description="Seconds; cut to the plan's `token_ttl`.")] | None = None
    audience: Annotated[str, Meta(min_length=1, max_length=MAX_AUDIENCE)] | None = None
    public_key: (
        Annotated[dict[str, Any], Meta(description="The holder's public key as a JWK: Ed25519, EC or RSA.")] | None
    ) = None
    lease: (
        Annotated[list[UsageLine], Meta(max_length=MAX_LINES, description="What to set aside for use offline.")] | None
    ) = None
    fingerprint: Annotated[Text, Meta(description="Binds the token to this machine.")] | None = None

    def __repr__(self) -> str:
        return f"TokenRequest(ttl={self.ttl!r}, audience={self.audience!r})"


class TokenAnswer(Struct):
    """A signed licence. `hold_id` is the lease that it carries."""

    token: str
    token_id: str
    expires_at: Moment
    hold_id: str | None

    def __repr__(self) -> str:
        return f"TokenAnswer(token_id={self.token_id!r})"


def read_tokens(raw: bytes) -> TokenRequest:
    """Decode a body of `tokens`; an empty one takes what the plan gives. Raises BadRequest, Invalid."""
    asked = decode_json(raw, type=TokenRequest, empty_as_object=True)
    if asked.fingerprint is not None and not asked.fingerprint.strip():
        raise Invalid.field("fingerprint", "blank", "It cannot be empty.")
    for field, text in (("audience", asked.audience), ("fingerprint", asked.fingerprint)):
        if text is not None:
            try:
                check_text(text, max_length=MAX_TEXT)
            except TextError as error:
                raise Invalid.field(field, error.code, error.detail) from None
    return asked
