"""When an activation holds one of its licence's places: until it is released, or its lease ends."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

#: The longest lease: ten years. What shall last longer is permanent.
MAX_LEASE: Final = 10 * 366 * 86_400

#: While a licence stays full, its vendor is told no more often than this.
LIMIT_NOTICE_EVERY: Final = timedelta(hours=1)

_LAST: Final = datetime(9999, 12, 31, tzinfo=UTC)


class ActivationStatus(StrEnum):
    """Active ones hold a place; lapsed ones could have it back; released ones are gone for good."""

    ACTIVE = "active"
    LAPSED = "lapsed"
    RELEASED = "released"


def activation_status(*, expires_at: datetime | None, released_at: datetime | None, at: datetime) -> ActivationStatus:
    """What has become of an activation at `at`. Half-open: at the very end of its lease it has lapsed."""
    if released_at is not None:
        return ActivationStatus.RELEASED
    if expires_at is not None and expires_at <= at:
        return ActivationStatus.LAPSED
    return ActivationStatus.ACTIVE


def lease_end(at: datetime, lease: int | None) -> datetime | None:
    """When a lease of so many seconds ends that begins at `at`; None: permanent."""
    if lease is None:
        return None
    try:
        return at + timedelta(seconds=lease)
    except OverflowError:
        return _LAST


def tells_of_limit(noted_at: datetime | None, at: datetime) -> bool:
    """Whether the vendor is to be told that no place is left: calls in a loop tell it once, not each time."""
    return noted_at is None or noted_at + LIMIT_NOTICE_EVERY <= at
