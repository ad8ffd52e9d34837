"""Throttles: a lower rate for a time."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from common.errors import Invalid
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services import fields
from tenants.services.changes import plain

LONGEST: Final = 10 * 366 * 86_400


class Throttle(NamedTuple):
    """At most `limit` calls in `window` seconds, `burst` at once, until `until` (None: until it is lifted)."""

    limit: int
    window: int
    burst: int
    until: datetime | None


def read_throttle(
    tenant: Tenant,
    *,
    limit: int | None,
    window: int | None = None,
    burst: int | None = None,
    seconds: int | None = None,
    until: datetime | None = None,
) -> Throttle | None:
    """The throttle that is asked for; None where `limit` is: to lift one. `seconds` count on the workspace's clock.

    Raises Invalid for the field: `for` or `until`, not both; an end in the past ends nothing.
    """
    if limit is None:
        return None
    if window is None:
        raise Invalid.field("window", "required", "A rate is so many calls in so many seconds.")
    [rate] = fields.rate_limits([{"limit": limit, "window": window, "burst": burst}], "throttle")
    if seconds is not None and until is not None:
        raise Invalid.field("until", "duplicate", "Say for how long or until when, not both.")
    now = clock_of(tenant).now()
    if seconds is not None:
        until = now + timedelta(seconds=fields.integer(seconds, "for", least=1, most=LONGEST))
    elif until is not None and fields.instant(until, "until") <= now:
        raise Invalid.field("until", "in_the_past", "A throttle ends in the future. Send a limit of null to lift one.")
    return Throttle(rate["limit"], rate["window"], rate["burst"], until)


def as_stored(throttle: Throttle, reason: str) -> Mapping[str, Any]:
    """The column's value."""
    until = None if throttle.until is None else plain(throttle.until)
    return {
        "limit": throttle.limit,
        "window": throttle.window,
        "burst": throttle.burst,
        "until": until,
        "reason": reason,
    }
