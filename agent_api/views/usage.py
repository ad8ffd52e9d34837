"""`usage`: report what has happened, ask what was used; `self` and `quotas`: who am I, what is left."""

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from django.http import HttpRequest

from agent_api.use_cases import reading
from agent_api.use_cases.answering import Answer
from agent_api.use_cases.reading import UsageQuestion
from agent_api.use_cases.recording import RecordCommand, record_many
from agent_api.views import documented
from agent_api.views.base import AgentView, credentials_of, one, parameters_of, read
from agent_api.wire.answers import QuotaList, SelfAnswer, UsageAnswer, UsageReportBody
from agent_api.wire.requests import Moment
from agent_api.wire.usage import ACCEPTED, UsageEvents, read_usage
from common.errors import Invalid
from common.http_json import check_content_type, read_body
from metering.selectors.usage import UsageWindow


class UsageView(AgentView):
    """POST and GET /agent/v1/usage"""

    operations = {"POST": documented.RECORD, "GET": documented.READ_USAGE}

    def post(self, request: HttpRequest) -> Answer[UsageAnswer]:
        credentials = credentials_of(request)

        def decode() -> UsageEvents:
            raw = read_body(request)
            return read_usage(raw, check_content_type(request, raw, ACCEPTED))

        return one(record_many([RecordCommand(credentials, read(credentials, decode))]))

    def get(self, request: HttpRequest) -> Answer[UsageReportBody]:
        credentials = credentials_of(request)
        return reading.read_usage(credentials, read(credentials, lambda: _question(request)))


class SelfView(AgentView):
    """GET /agent/v1/self"""

    operations = {"GET": documented.READ_SELF}

    def get(self, request: HttpRequest) -> Answer[SelfAnswer]:
        credentials = credentials_of(request)
        read(credentials, lambda: parameters_of(request, ()))
        return reading.read_self(credentials)


class QuotasView(AgentView):
    """GET /agent/v1/quotas"""

    operations = {"GET": documented.READ_QUOTAS}

    def get(self, request: HttpRequest) -> Answer[QuotaList]:
        credentials = credentials_of(request)
        read(credentials, lambda: parameters_of(request, ()))
        return reading.read_quotas(credentials)


def _question(request: HttpRequest) -> UsageQuestion:
    given = parameters_of(request, {"meter", "from", "to", "window", "group_by", "timezone", "top"}, ("filter",))
    for name in ("meter", "from"):
        if not given.get(name):
            raise Invalid.field(name, "required", "This parameter is required.")
    end = given.get("to")
    return UsageQuestion(
        meter=given["meter"],
        start=_moment("from", given["from"]),
        end=_moment("to", end) if end else None,
        window=_window(given.get("window")),
        group_by=tuple(name.strip() for name in given["group_by"].split(",")) if given.get("group_by") else (),
        timezone=_timezone(given.get("timezone")),
        filter={name[len("filter[") : -1]: value for name, value in given.items() if name.startswith("filter[")},
        top=_number(given.get("top")),
    )


def _number(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise Invalid.field("top", "invalid", "A whole number above 0.")
    return int(text)


def _moment(name: str, text: str) -> datetime:
    try:
        moment: datetime = msgspec.convert(text, type=Moment)
    except msgspec.ValidationError:
        detail = "A time is written as in RFC 3339, such as 2026-11-23T09:00:00Z."
        raise Invalid.field(name, "time_invalid", detail) from None
    return moment


def _window(text: str | None) -> UsageWindow | None:
    if not text:
        return None
    try:
        return UsageWindow(text)
    except ValueError:
        raise Invalid.field("window", "invalid", f"A window is one of {', '.join(UsageWindow)}.") from None


def _timezone(text: str | None) -> ZoneInfo | None:
    if not text:
        return None
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid.field("timezone", "invalid", "There is no such time zone.") from None
