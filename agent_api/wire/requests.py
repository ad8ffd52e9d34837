"""What agents send, as types: strict, bounded, unknown fields refused. Every shell decodes through these functions."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from common.errors import FieldError, Invalid
from common.json_decoding import decode_json
from common.text import TextError, check_text

MAX_ID: Final = 255
MAX_TEXT: Final = 256
MAX_LINES: Final = 100
MAX_TTL: Final = 30 * 86_400
DEFAULT_TTL: Final = 300

_QUANTITY_SCHEMA = {"type": ["string", "number"], "examples": ["1532"]}
_DIMENSIONS_SCHEMA = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean"]},
    "examples": [{"model": "large"}],
}

Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Id = Annotated[
    str, Meta(min_length=1, max_length=MAX_ID, description="Yours, unique per licence: a repeat counts once.")
]
#: Numbers are taken from their digits, so that none passes through a float.
Quantity = Annotated[
    msgspec.Raw,
    Meta(
        description="A decimal, at most 12 decimals and 10^18; a count meter needs none.",
        extra_json_schema=_QUANTITY_SCHEMA,
    ),
]
Dimensions = Annotated[
    msgspec.Raw,
    Meta(description="Values of dimensions that the meter declares.", extra_json_schema=_DIMENSIONS_SCHEMA),
]
Moment = Annotated[datetime, Meta(tz=True)]
Ttl = Annotated[int, Meta(ge=1, le=MAX_TTL, description="Seconds.")]


class ValidateRequest(Struct, forbid_unknown_fields=True):
    """Everything is optional; `license_key` goes with a publishable key only."""

    features: Annotated[list[Text], Meta(max_length=100, description="Each must be granted.")] | None = None
    fingerprint: Text | None = None
    instance: Annotated[Text, Meta(description="Of the agent, where no machine is known.")] | None = None
    product: Text | None = None
    nonce: Annotated[str, Meta(max_length=MAX_TEXT, description="Comes back as it is.")] | None = None
    license_key: Text | None = None

    def __repr__(self) -> str:
        return f"ValidateRequest(features={self.features!r}, product={self.product!r})"


class UsageLine(Struct, forbid_unknown_fields=True):
    """A quantity of one meter, named by code or id."""

    meter: Text
    quantity: Quantity | UnsetType = UNSET
    dimensions: Dimensions | UnsetType = UNSET


class AuthorizeRequest(Struct, forbid_unknown_fields=True):
    """May I do this now? `mode` is `consume` with usage and `check` without, unless it is named."""

    id: Id | None = None
    feature: Text | None = None
    value: bool | int | float | Text | Annotated[list[Text], Meta(max_length=100)] | None = None
    fingerprint: Text | None = None
    instance: Annotated[Text, Meta(description="Of the agent, where no machine is known.")] | None = None
    usage: Annotated[list[UsageLine], Meta(max_length=MAX_LINES)] | None = None
    mode: Literal["check", "consume", "hold"] | None = None
    ttl: Ttl | None = None
    on_excess: Literal["count", "cap", "reject"] | None = None


# A thousand come at once and refer to nothing that refers to them: the garbage collector need not go through them.
class ReportedEvent(Struct, forbid_unknown_fields=True, gc=False):
    """A fact: this much has happened."""

    id: Id
    meter: Text
    quantity: Quantity | UnsetType = UNSET
    occurred_at: Moment | None = None
    dimensions: Dimensions | UnsetType = UNSET
    hold_id: (
        Annotated[str, Meta(max_length=MAX_TEXT, description="The lease that it was used from, while offline.")] | None
    ) = None


class CloudEventData(Struct, forbid_unknown_fields=True):
    """What a CloudEvent of usage carries."""

    quantity: Quantity | UnsetType = UNSET
    dimensions: Dimensions | UnsetType = UNSET


class CloudEvent(Struct):
    """CloudEvents 1.0 in JSON; attributes that are not named here are let through."""

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(min_length=1)]
    source: Annotated[str, Meta(min_length=1)]
    type: Annotated[str, Meta(min_length=1, max_length=200)]
    time: Moment | None = None
    datacontenttype: str | None = None
    data: CloudEventData | None = None
    data_base64: str | None = None


class SettleRequest(Struct, forbid_unknown_fields=True):
    """What was really used. A part has `final` false and an `id` of its own."""

    usage: Annotated[list[UsageLine], Meta(max_length=MAX_LINES)]
    id: Id | None = None
    final: bool = True


class ExtendRequest(Struct, forbid_unknown_fields=True):
    """From now on so many seconds."""

    ttl: Ttl


class EmptyRequest(Struct, forbid_unknown_fields=True):
    """Nothing needs to be said."""


def read_validate(raw: bytes) -> ValidateRequest:
    """Decode a body of `validate`; an empty one asks for nothing in particular. Raises BadRequest, Invalid."""
    asked = decode_json(raw, type=ValidateRequest, empty_as_object=True)
    _clean(
        *((f"features.{place}", text) for place, text in enumerate(asked.features or ())),
        ("fingerprint", asked.fingerprint),
        ("instance", asked.instance),
        ("product", asked.product),
        ("nonce", asked.nonce),
    )
    return asked


def read_authorize(raw: bytes, idempotency_key: str | None = None) -> AuthorizeRequest:
    """Decode a body of `authorize`; the Idempotency-Key is taken as the id. Raises BadRequest, Invalid."""
    asked = decode_json(raw, type=AuthorizeRequest, empty_as_object=True)
    values: list[Any] = asked.value if isinstance(asked.value, list) else [asked.value]
    _clean(
        ("id", asked.id),
        ("feature", asked.feature),
        *(("value", value) for value in values),
        ("fingerprint", asked.fingerprint),
        ("instance", asked.instance),
    )
    if asked.id is not None and idempotency_key is not None and asked.id != idempotency_key:
        raise Invalid.field("id", "id_mismatch", "The body's id is not that of the Idempotency-Key: send one of them.")
    asked.id = asked.id or idempotency_key
    asked.mode = asked.mode or ("consume" if asked.usage else "check")
    _check_modes(asked)
    return asked


def read_settle(raw: bytes, idempotency_key: str | None = None) -> SettleRequest:
    """Decode a body of `settle`; a part may have its id from the Idempotency-Key. Raises BadRequest, Invalid."""
    asked = decode_json(raw, type=SettleRequest)
    _clean(("id", asked.id))
    if not asked.final:
        asked.id = asked.id or idempotency_key
        if asked.id is None:
            raise Invalid.field("id", "required", "A part that is settled has an id of its own.")
    return asked


def read_extend(raw: bytes) -> ExtendRequest:
    """Decode a body of `extend`. Raises BadRequest, Invalid."""
    return decode_json(raw, type=ExtendRequest)


def read_nothing(raw: bytes) -> EmptyRequest:
    """Decode a body in which nothing is expected. Raises BadRequest, Invalid."""
    return decode_json(raw, type=EmptyRequest, empty_as_object=True)


def _check_modes(asked: AuthorizeRequest) -> None:
    if asked.value is not None and asked.feature is None:
        raise Invalid.field("feature", "required", "A value belongs to a feature: name it.")
    if asked.mode != "check" and not asked.usage:
        raise Invalid.field("usage", "required", f"The mode {asked.mode} needs usage: what is to be counted?")
    if asked.mode != "hold":
        for field in ("ttl", "on_excess"):
            if getattr(asked, field) is not None:
                raise Invalid.field(field, "only_for_holds", f"{field} goes with the mode hold.")


def _clean(*texts: tuple[str, Any]) -> None:
    """Refuse control characters and halves of characters, naming each field."""
    errors = []
    for field, text in texts:
        if isinstance(text, str):
            try:
                check_text(text, max_length=MAX_TEXT)
            except TextError as error:
                errors.append(FieldError(field=field, code=error.code, detail=error.detail))
    if errors:
        raise Invalid(f"{errors[0]['field']}: {errors[0]['detail']}", errors=errors)
