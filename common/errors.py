"""Errors that a caller sees: classes with a status, a stable `code` and what a problem document (RFC 9457) needs."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self, TypedDict

BLANK_TYPE = "about:blank"
QUOTA_EXCEEDED_TYPE = "https://iana.org/assignments/http-problem-types#quota-exceeded"


class FieldError(TypedDict):
    """What is wrong with one field: its path (`events.0.meter`), a stable code, a sentence."""

    field: str
    code: str
    detail: str


class Problem(Exception):
    """A refusal with a status and a stable code. Services raise its subclasses; one table turns them into answers.

    `extra` holds further members of the problem document, `headers` further fields of the answer.
    """

    status: ClassVar[int] = 500
    code: str = "internal_error"
    title: ClassVar[str] = "Internal Server Error"
    type: ClassVar[str] = BLANK_TYPE

    def __init__(
        self,
        detail: str = "",
        *,
        code: str | None = None,
        errors: Iterable[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """`code` overrides the class's own, where one class has several."""
        super().__init__(detail)
        self.detail = detail
        self.errors: list[FieldError] = list(errors)
        self.headers: dict[str, str] = dict(headers or {})
        self.extra: dict[str, Any] = dict(extra or {})
        if code is not None:
            self.code = code


class CodedProblem(Problem):
    """A problem that has no code of its own: the caller gives one first."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: Iterable[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """`Forbidden("agent_suspended", "The agent is suspended.")`."""
        super().__init__(detail, code=code, errors=errors, headers=headers, extra=extra)


class BadRequest(CodedProblem):
    """400: what was sent cannot be read at all."""

    status = 400
    code = "malformed_json"
    title = "Bad Request"

    def __init__(self, code: str = "malformed_json", detail: str = "", **more: Any) -> None:
        """Without a code: the body is not JSON."""
        super().__init__(code, detail, **more)


class Unauthorized(Problem):
    """401: one answer for unknown, malformed, expired and revoked credentials, so that it teaches nothing."""

    status = 401
    code = "unauthorized"
    title = "Unauthorized"

    def __init__(self, detail: str = "No valid key was given.", **more: Any) -> None:
        """RFC 9110 wants the challenge on every 401."""
        super().__init__(detail, **more)
        self.headers.setdefault("WWW-Authenticate", "Bearer")


class Forbidden(CodedProblem):
    """403: known, but not allowed. The code says why."""

    status = 403
    code = "forbidden"
    title = "Forbidden"

    def __init__(self, code: str = "forbidden", detail: str = "", **more: Any) -> None:
        """Without a code: plain `forbidden`."""
        super().__init__(code, detail, **more)


class NetworkNotAllowed(Forbidden):
    """403: a good key, from an address that it is not for."""

    code = "network_not_allowed"

    def __init__(self) -> None:
        """The address is not repeated: what a proxy says of it need not be told."""
        super().__init__(self.code, "This key may not be used from the address that this call came from.")


class NotFound(Problem):
    """404: there is no such thing, or it is another tenant's."""

    status = 404
    code = "not_found"
    title = "Not Found"

    def __init__(self, detail: str = "There is no such thing here.", **more: Any) -> None:
        """The sentence is the same for what never was and for what others own."""
        super().__init__(detail, **more)


class MethodNotAllowed(Problem):
    """405: this place does not know the method."""

    status = 405
    code = "method_not_allowed"
    title = "Method Not Allowed"

    def __init__(self, detail: str = "", *, allowed: Iterable[str] = (), **more: Any) -> None:
        """`allowed` becomes the Allow field, which RFC 9110 demands."""
        super().__init__(detail, **more)
        if methods := ", ".join(allowed):
            self.headers["Allow"] = methods


class NotAcceptable(Problem):
    """406: nothing that we make is what the client accepts."""

    status = 406
    code = "not_acceptable"
    title = "Not Acceptable"


class Conflict(CodedProblem):
    """409: the state forbids it. The code says which."""

    status = 409
    code = "conflict"
    title = "Conflict"

    def __init__(self, code: str = "conflict", detail: str = "", **more: Any) -> None:
        """Without a code: plain `conflict`."""
        super().__init__(code, detail, **more)


class PayloadTooLarge(Problem):
    """413: the body is over the limit."""

    status = 413
    code = "body_too_large"
    title = "Content Too Large"


class UnsupportedMediaType(Problem):
    """415: the body is of a kind that is not read here."""

    status = 415
    code = "unsupported_media_type"
    title = "Unsupported Media Type"


class Invalid(Problem):
    """422: the body can be read, but its fields do not hold."""

    status = 422
    code = "invalid"
    title = "Unprocessable Content"

    @classmethod
    def field(cls, field: str, code: str, detail: str) -> Self:
        """One field is wrong: `Invalid.field("limit", "invalid", "A limit is not negative.")`."""
        return cls(detail, errors=[{"field": field, "code": code, "detail": detail}])


class RateLimited(Problem):
    """429: a rate limit ran out. `level` says on which level: agent, license, customer or tenant."""

    status = 429
    code = "rate_limited"
    title = "Request cannot be satisfied as assigned quota has been exceeded"
    type = QUOTA_EXCEEDED_TYPE

    def __init__(
        self,
        detail: str = "Too many requests.",
        *,
        level: str | None = None,
        retry_after: float = 1,
        violated: Iterable[str] = (),
        **more: Any,
    ) -> None:
        """`retry_after` in seconds, rounded up; `violated` names the policies (the level alone unless given)."""
        super().__init__(detail, **more)
        policies = list(violated) or ([level] if level else [])
        if level:
            self.extra.setdefault("level", level)
        if policies:
            self.extra.setdefault("violated-policies", policies)
        self.headers.setdefault("Retry-After", str(max(1, math.ceil(retry_after))))


class Unavailable(Problem):
    """503: a store cannot be reached. Nothing is half done."""

    status = 503
    code = "store_unreachable"
    title = "Service Unavailable"

    def __init__(self, detail: str = "A store cannot be reached. Nothing was done.", **more: Any) -> None:
        """Stores come back within a second more often than not."""
        super().__init__(detail, **more)
        self.headers.setdefault("Retry-After", "1")


class OutcomeUnknown(Unavailable):
    """503: the connection died in a commit, and what came of it could not be looked up. Repeat with the same id."""

    code = "outcome_unknown"

    def __init__(
        self,
        retry_id: str | None = None,
        detail: str = "The outcome is unknown. Repeat with the same id.",
        **more: Any,
    ) -> None:
        """`retry_id` is the id to repeat the call with; the document names it `id`."""
        super().__init__(detail, **more)
        if retry_id is not None:
            self.extra.setdefault("id", retry_id)


class RevocationPending(Unavailable):
    """503: the change is done, but not yet known to every process. Repeating the call answers 200 once it is."""

    code = "revocation_pending"

    def __init__(
        self,
        detail: str = "The change is done and is being published. Repeat the call.",
        **more: Any,
    ) -> None:
        """The publisher goes on by itself."""
        super().__init__(detail, **more)
