"""Arithmetic of licence terms: where they end, and when a decision changes by the clock alone."""

import calendar
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from licenses.domain.enums import DisplayedStatus, LicenseStatus
from licenses.domain.facts import AccessFacts, ActivationFacts, LicenseFacts

#: So many days before a licence expires its vendor is told, unless the plan says otherwise.
DEFAULT_NOTICES: Final = (30, 7, 1)

#: The finest step of times here and in PostgreSQL.
_INSTANT: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Term:
    """A length of time on the calendar. Years and months come first, then days."""

    years: int = 0
    months: int = 0
    days: int = 0

    def __post_init__(self) -> None:
        if min(self.years, self.months, self.days) < 0 or not (self.years or self.months or self.days):
            raise ValueError("A term is at least a day, a month or a year, and has no negative part.")


def add_term(start: datetime, term: Term, *, times: int = 1, zone: tzinfo = UTC) -> datetime:
    """`start` plus `times` terms on the calendar of `zone`, in UTC.

    A day that the month does not have becomes its last one. `times` steps from `start` itself, never from
    a clamped end, so 31 January goes to 28 February and then to 31 March. Days are calendar days: 23 or 25
    hours where the clocks change. Raises ValueError beyond the year 9999.
    """
    local = start.astimezone(zone)
    year, month0 = divmod(local.year * 12 + local.month - 1 + (term.years * 12 + term.months) * times, 12)
    if year > 9999:
        raise ValueError("The term ends beyond the year 9999.")
    day = min(local.day, calendar.monthrange(year, month0 + 1)[1])
    try:
        wall = local.replace(year=year, month=month0 + 1, day=day, tzinfo=None) + timedelta(days=term.days * times)
        return wall.replace(tzinfo=zone, fold=local.fold).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("The term ends beyond the year 9999.") from error


def term_end_after(start: datetime, term: Term, after: datetime, *, zone: tzinfo = UTC) -> datetime:
    """The first end of a term, counted from `start`, that lies after `after`: the expiry after a renewal."""
    # No term is longer than this, so the guess is never too far and the loop only makes up for short months.
    longest = timedelta(days=366 * term.years + 31 * term.months + term.days + 1)
    times = max(1, (after - start) // longest)
    while (end := add_term(start, term, times=times, zone=zone)) <= after:
        times += max(1, (after - end) // longest)
    return end


def renewed_until(starts_at: datetime, expires_at: datetime, term: Term, *, zone: tzinfo = UTC) -> datetime:
    """When a licence ends that is renewed by one term from its expiry.

    An expiry that is the end of whole terms from the start goes on in their rhythm, so that a licence of a month that
    began on 31 January ends on 28 February and then on 31 March. Any other expiry (one that was given, or another
    plan's) is where the term is added to. Raises ValueError beyond the year 9999.
    """
    if starts_at < expires_at and term_end_after(starts_at, term, expires_at - _INSTANT, zone=zone) == expires_at:
        return term_end_after(starts_at, term, expires_at, zone=zone)
    return add_term(expires_at, term, zone=zone)


def shortest_days(term: Term) -> int:
    """So many days a term has at least, wherever on the calendar it lies."""
    return 365 * term.years + 28 * term.months + term.days


def notices_for(term: Term | None, days: Iterable[int]) -> list[int]:
    """Of the days before an expiry on which notice is wanted, those that make sense for the term, soonest expiry first.

    A notice that comes as long before the end as the term lasts would be given when the licence begins. Without a term
    an expiry was set by hand, and all are given.
    """
    return sorted({each for each in days if term is None or each < shortest_days(term)})


def displayed_status(facts: LicenseFacts, at: datetime) -> DisplayedStatus:
    """What a person is shown of the licence at `at`: a stored refusal first, then the clock."""
    if facts.status != LicenseStatus.ACTIVE:
        return DisplayedStatus(str(facts.status))
    if at < facts.starts_at:
        return DisplayedStatus.NOT_STARTED
    if facts.expires_at is None or at < facts.expires_at:
        return DisplayedStatus.TRIAL if facts.trial else DisplayedStatus.ACTIVE
    end = facts.grace_until
    return DisplayedStatus.GRACE if end is None or at < end else DisplayedStatus.EXPIRED


def valid_until(facts: AccessFacts, at: datetime, *, activation: ActivationFacts | None = None) -> datetime | None:
    """The first instant after `at` when the clock alone could change the decision or a feature.

    Up to it (exclusive) the same facts give the same answer; None: for ever.
    """
    return min((edge for edge in _edges(facts, activation) if edge is not None and edge > at), default=None)


def _edges(facts: AccessFacts, activation: ActivationFacts | None) -> Iterator[datetime | None]:
    yield facts.license.starts_at
    yield facts.license.expires_at
    yield facts.license.grace_until
    for agent in facts.agents:
        yield agent.expires_at
    for grant in facts.grants:
        yield grant.starts_at
        yield grant.expires_at
    if activation is not None:
        yield activation.expires_at
