"""`activations`, as sent and as answered."""

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from agent_api.wire.answers import Moment
from agent_api.wire.requests import MAX_TEXT, Text
from common.errors import FieldError, Invalid
from common.json_decoding import decode_json
from common.text import TextError, check_text

MAX_LABEL: Final = 200


class ActivationRequest(Struct, forbid_unknown_fields=True):
    """A machine by its fingerprint, or a copy of the agent by its instance; `license_key` with a publishable key."""

    fingerprint: Annotated[Text, Meta(description="What names the machine: stays the same, and tells it apart.")] | (
        None
    ) = None
    instance: Annotated[Text, Meta(description="The name of a copy of the agent, where no machine is known.")] | (
        None
    ) = None
    label: Annotated[str, Meta(max_length=MAX_LABEL, description="For people.")] | None = None
    license_key: Text | None = None

    def __repr__(self) -> str:
        return f"ActivationRequest(fingerprint={self.fingerprint!r}, instance={self.instance!r})"


class HeartbeatRequest(Struct, forbid_unknown_fields=True):
    """Nothing needs to be said; `license_key` with a publishable key, unless X-License-Key brings it."""

    license_key: Text | None = None

    def __repr__(self) -> str:
        return "HeartbeatRequest()"


class ActivationAnswer(Struct):
    """An activation. `expires_at` is the end of its lease, null for a permanent one."""

    id: str
    fingerprint: str | None
    instance: str | None
    label: str
    expires_at: Moment | None


def read_activation(raw: bytes) -> ActivationRequest:
    """Decode a body of `activations`. Raises BadRequest, Invalid."""
    asked = decode_json(raw, type=ActivationRequest, empty_as_object=True)
    errors: list[FieldError] = []
    for field in ("fingerprint", "instance", "label"):
        value: Any = getattr(asked, field)
        if value is not None:
            errors.extend(_faults(field, value, blank=field == "label"))
    if errors:
        raise Invalid(f"{errors[0]['field']}: {errors[0]['detail']}", errors=errors)
    if asked.fingerprint is None and asked.instance is None:
        detail = "Send the fingerprint of this machine, or the instance of the agent where no machine is known."
        raise Invalid.field("fingerprint", "required", detail)
    if asked.fingerprint is not None and asked.instance is not None:
        raise Invalid.field("instance", "one_of", "An activation is for a machine or for a copy: send one of the two.")
    return asked


def read_heartbeat(raw: bytes) -> HeartbeatRequest:
    """Decode a body in which at most the licence key stands. Raises BadRequest, Invalid."""
    return decode_json(raw, type=HeartbeatRequest, empty_as_object=True)


def _faults(field: str, value: str, *, blank: bool) -> list[FieldError]:
    try:
        check_text(value, max_length=MAX_TEXT)
    except TextError as error:
        return [FieldError(field=field, code=error.code, detail=error.detail)]
    if not blank and not value.strip():
        return [FieldError(field=field, code="blank", detail="It cannot be empty.")]
    return []
