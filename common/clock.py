"""What time it is, as an argument.

Rules about time take the time as a parameter; only the outermost layer asks a clock. A test workspace has a clock of
its own, which runs ahead of real time by an offset. All times are aware and UTC.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Whatever can say what time it is."""

    def now(self) -> datetime:
        """The present moment: aware, UTC."""
        ...


@dataclass(frozen=True, slots=True)
class SystemClock:
    """Real time, moved by an offset (none, except for the workspaces that rehearse a later day)."""

    offset: timedelta = timedelta(0)

    def now(self) -> datetime:
        """The present moment: aware, UTC."""
        return datetime.now(UTC) + self.offset


@dataclass(slots=True)
class FixedClock:
    """A clock that stands still until somebody moves it."""

    at: datetime

    def __post_init__(self) -> None:
        """Refuse a naive time: it would compare with nothing."""
        if self.at.utcoffset() is None:
            message = "a clock needs an aware time"
            raise ValueError(message)
        self.at = self.at.astimezone(UTC)

    def now(self) -> datetime:
        """The time at which the clock was set, plus what it was advanced since."""
        return self.at

    def advance(self, by: timedelta) -> datetime:
        """Move the clock and return the new time."""
        self.at += by
        return self.at


_REAL_CLOCK = SystemClock()


def real_clock() -> Clock:
    """The clock of the world: for rate limits, tokens, idempotency, webhooks' time stamps and sealing."""
    return _REAL_CLOCK


def tenant_clock(offset: timedelta) -> Clock:
    """The clock of a workspace that runs `offset` ahead of real time: for licences, holds, periods and acceptance."""
    return SystemClock(offset) if offset else _REAL_CLOCK


def rfc3339(at: datetime) -> str:
    """An instant as answers write it: in UTC, with `Z`."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
