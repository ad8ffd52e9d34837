from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licenses.domain.decision import decide_license
from licenses.domain.entitlements import effective_features
from licenses.domain.enums import LicenseStatus
from licenses.domain.facts import AccessFacts, ActivationFacts
from licenses.domain.license_times import (
    Term,
    add_term,
    displayed_status,
    notices_for,
    renewed_until,
    shortest_days,
    term_end_after,
    valid_until,
)
from tests.licenses.domain.builders import DAY, NOW, SECOND, grant, make_agent, make_facts, make_license


def day(year: int, month: int, number: int, hour: int = 0) -> datetime:
    return datetime(year, month, number, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "term", "times", "end"),
    [
        (day(2026, 1, 31), Term(months=1), 1, day(2026, 2, 28)),
        (day(2026, 1, 31), Term(months=1), 2, day(2026, 3, 31)),
        (day(2024, 2, 29), Term(years=1), 1, day(2025, 2, 28)),
        (day(2024, 2, 29), Term(years=1), 4, day(2028, 2, 29)),
        (day(2026, 12, 15), Term(months=12), 1, day(2027, 12, 15)),
        (day(2026, 11, 30), Term(days=30), 3, day(2027, 2, 28)),
        (day(2026, 1, 31), Term(years=1, months=1, days=1), 1, day(2027, 3, 1)),
    ],
)
def test_add_term__calendar_lengths__clamp_from_the_start_itself(
    start: datetime, term: Term, times: int, end: datetime
) -> None:
    assert add_term(start, term, times=times) == end


def test_add_term__zone_that_changes_its_clocks__keeps_the_local_hour() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    start = datetime(2026, 3, 28, 12, tzinfo=berlin)

    end = add_term(start, Term(days=1), zone=berlin)

    assert end - start == timedelta(hours=23)
    assert end.astimezone(berlin).hour == 12


def test_add_term__month_end_in_a_zone_ahead_of_utc__clamps_by_the_local_date() -> None:
    auckland = ZoneInfo("Pacific/Auckland")
    start = datetime(2026, 1, 31, 0, 30, tzinfo=auckland)

    assert add_term(start, Term(months=1), zone=auckland).astimezone(auckland).date().isoformat() == "2026-02-28"


@pytest.mark.parametrize("term", [Term(years=9000), Term(months=120_000), Term(days=4_000_000)])
def test_add_term__beyond_the_calendar__is_a_value_error(term: Term) -> None:
    with pytest.raises(ValueError, match="9999"):
        add_term(NOW, term)


@pytest.mark.parametrize("parts", [{}, {"months": -1}, {"years": 1, "days": -1}])
def test_term__empty_or_negative__is_a_value_error(parts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least a day"):
        Term(**parts)


@given(
    term=st.builds(Term, years=st.integers(0, 2), months=st.integers(0, 14), days=st.integers(1, 40)),
    wait=st.timedeltas(timedelta(days=-100), timedelta(days=4000)),
)
def test_term_end_after__any_instant__is_the_first_end_after_it(term: Term, wait: timedelta) -> None:
    end = term_end_after(NOW, term, NOW + wait)

    ends: list[datetime] = []
    while not ends or ends[-1] <= NOW + wait:
        ends.append(add_term(NOW, term, times=len(ends) + 1))
    assert end == ends[-1]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "active"),
        ({"starts_at": NOW + SECOND}, "not_started"),
        ({"expires_at": NOW + SECOND}, "active"),
        ({"expires_at": NOW + SECOND, "trial": True}, "trial"),
        ({"trial": True}, "trial"),
        ({"starts_at": NOW + SECOND, "trial": True}, "not_started"),
        ({"expires_at": NOW, "trial": True}, "expired"),
        ({"trial": True, "status": LicenseStatus.SUSPENDED}, "suspended"),
        ({"expires_at": NOW, "grace": DAY}, "grace"),
        ({"expires_at": NOW - DAY, "grace": DAY}, "expired"),
        ({"expires_at": NOW}, "expired"),
        ({"expires_at": NOW, "status": LicenseStatus.SUSPENDED}, "suspended"),
        ({"starts_at": NOW + DAY, "status": LicenseStatus.REVOKED}, "revoked"),
    ],
)
def test_displayed_status__stored_and_clock__shows_one_word(changes: dict[str, object], status: str) -> None:
    assert displayed_status(make_license(**changes), NOW) == status


starts = st.datetimes(
    day(1990, 1, 1).replace(tzinfo=None), day(2090, 1, 1).replace(tzinfo=None), timezones=st.just(UTC)
)
terms = st.builds(
    lambda parts: Term(*parts),
    st.tuples(st.integers(0, 3), st.integers(0, 14), st.integers(0, 40)).filter(any),
)
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Pacific/Auckland", "Australia/Lord_Howe"])


@pytest.mark.parametrize(
    ("start", "expiry", "term", "end"),
    [
        (day(2027, 1, 31), day(2027, 2, 28), Term(months=1), day(2027, 3, 31)),
        (day(2028, 1, 31), day(2028, 2, 29), Term(months=1), day(2028, 3, 31)),
        (day(2028, 2, 29), day(2029, 2, 28), Term(years=1), day(2030, 2, 28)),
        (day(2028, 2, 29), day(2031, 2, 28), Term(years=1), day(2032, 2, 29)),
        (day(2027, 1, 31), day(2027, 2, 27), Term(months=1), day(2027, 3, 27)),
        (day(2027, 1, 31), day(2027, 2, 28), Term(months=2), day(2027, 4, 28)),
        (day(2027, 5, 1), day(2027, 5, 1), Term(days=3), day(2027, 5, 4)),
    ],
)
def test_renewed_until__in_and_out_of_the_terms_rhythm__goes_on_in_it_or_adds_a_term(
    start: datetime, expiry: datetime, term: Term, end: datetime
) -> None:
    assert renewed_until(start, expiry, term) == end


def test_renewed_until__across_the_change_of_clocks__keeps_the_local_hour() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    start = datetime(2026, 9, 30, 18, tzinfo=berlin)

    first = add_term(start, Term(months=1), zone=berlin)
    second = renewed_until(start, first, Term(months=1), zone=berlin)

    assert second.astimezone(berlin).isoformat() == "2026-11-30T18:00:00+01:00"
    assert second - first == timedelta(days=31)


@given(begin=starts, term=terms, zone=zones)
def test_renewed_until__any_term_renewed_again_and_again__is_as_many_terms_from_the_start(
    begin: datetime, term: Term, zone: str
) -> None:
    info = ZoneInfo(zone)
    end = add_term(begin, term, zone=info)
    for times in (2, 3, 4):
        end = renewed_until(begin, end, term, zone=info)
        assert end == add_term(begin, term, times=times, zone=info)


@given(
    begin=starts,
    wait=st.timedeltas(timedelta(0), timedelta(days=4000)),
    term=terms,
    zone=zones,
)
def test_renewed_until__any_expiry__is_later_by_about_a_term(
    begin: datetime, wait: timedelta, term: Term, zone: str
) -> None:
    later = renewed_until(begin, begin + wait, term, zone=ZoneInfo(zone)) - (begin + wait)

    # A change of the clocks takes or gives an hour; a clamped month at most three days.
    assert timedelta(days=shortest_days(term), hours=-1) <= later
    assert later <= timedelta(days=366 * term.years + 31 * term.months + term.days + 3, hours=1)


@pytest.mark.parametrize(
    ("term", "kept"),
    [
        (None, [1, 7, 30]),
        (Term(months=1), [1, 7]),
        (Term(months=2), [1, 7, 30]),
        (Term(days=7), [1]),
        (Term(days=1), []),
        (Term(years=1), [1, 7, 30]),
    ],
)
def test_notices_for__terms__leaves_out_those_that_would_come_at_the_start(term: Term | None, kept: list[int]) -> None:
    assert notices_for(term, [30, 7, 1]) == kept


def test_valid_until__several_edges__is_the_first_one_ahead() -> None:
    facts = make_facts(
        license=make_license(expires_at=NOW + 9 * DAY, grace=DAY),
        agents=[make_agent(expires_at=NOW + 8 * DAY), make_agent(11, expires_at=NOW + 7 * DAY)],
        grants=[grant("f", 1, starts_at=NOW - DAY, expires_at=NOW + 6 * DAY), grant("f", 1, starts_at=NOW + 5 * DAY)],
    )
    lapsing = ActivationFacts(UUID(int=30), "host-7", NOW + 4 * DAY)

    assert valid_until(facts, NOW) == NOW + 5 * DAY
    assert valid_until(facts, NOW, activation=lapsing) == NOW + 4 * DAY
    assert valid_until(facts, NOW + 9 * DAY) == NOW + 10 * DAY
    assert valid_until(facts, NOW + 10 * DAY) is None


instants = st.integers(-5, 5).map(lambda days: NOW + days * DAY)


edged_facts = st.builds(
    lambda starts, expires, grace, agent, granted: make_facts(
        license=make_license(starts_at=starts, expires_at=expires, grace=grace * DAY),
        agents=[make_agent(expires_at=agent)],
        grants=[grant("f", True, starts_at=granted)],
    ),
    starts=instants,
    expires=st.none() | instants,
    grace=st.integers(0, 3),
    agent=st.none() | instants,
    granted=st.none() | instants,
)


@given(facts=edged_facts, later=st.integers(0, 10 * 24))
def test_valid_until__any_facts__nothing_changes_before_it(facts: AccessFacts, later: int) -> None:
    until = valid_until(facts, NOW)
    then = NOW + timedelta(hours=later)

    if until is None or then < until:
        assert decide_license(facts, at=then, features=["f"]) == decide_license(facts, at=NOW, features=["f"])
        assert effective_features(facts, then) == effective_features(facts, NOW)
