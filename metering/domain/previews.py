"""What an edit would do to licences: one line for each feature, quota or limit that changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from licenses.domain.comparing import Effect


class QuotaName(NamedTuple):
    """What a quota counts, as it is shown."""

    meter: str
    scope: str
    period: str
    filter: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that changes: a feature by code, a quota, or another limit of the plan by its field's name.

    `before` and `after` are as they are shown; None: there is no such quota, or no limit.
    """

    effect: Effect
    before: Any
    after: Any
    feature: str | None = None
    quota: QuotaName | None = None
    limit: str | None = None

    @property
    def subject(self) -> tuple[str | None, QuotaName | None, str | None]:
        """What it is about."""
        return self.feature, self.quota, self.limit


class Tally(NamedTuple):
    """How many licences a change does the same to."""

    feature: str | None
    quota: QuotaName | None
    limit: str | None
    effect: Effect
    licenses: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What would change. `changes` are those of one page of licences, newest first; the numbers are of all."""

    licenses_affected: int
    summary: tuple[Tally, ...] = ()
    changes: Mapping[UUID, tuple[Change, ...]] = field(default_factory=dict)
    next_cursor: str | None = None
