from datetime import UTC, datetime, timedelta, timezone

import pytest

from common.clock import FixedClock, real_clock, rfc3339, tenant_clock

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_real_clock__now__is_the_time_in_utc() -> None:
    before = datetime.now(UTC)
    now = real_clock().now()
    assert before <= now <= datetime.now(UTC)
    assert now.tzinfo is UTC


def test_tenant_clock__offset__runs_ahead_by_it() -> None:
    ahead = tenant_clock(timedelta(days=30)).now() - real_clock().now()
    assert timedelta(days=30) - timedelta(seconds=5) < ahead <= timedelta(days=30)


def test_tenant_clock__no_offset__is_the_real_one() -> None:
    assert tenant_clock(timedelta(0)) is real_clock()


def test_fixed_clock__advance__moves_it_and_tells() -> None:
    clock = FixedClock(NOON)
    assert clock.now() == NOON
    assert clock.advance(timedelta(hours=1)) == datetime(2026, 11, 23, 13, tzinfo=UTC)
    assert clock.now() == datetime(2026, 11, 23, 13, tzinfo=UTC)


def test_fixed_clock__other_timezone__tells_utc() -> None:
    clock = FixedClock(datetime(2026, 11, 23, 14, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now() == NOON
    assert clock.now().tzinfo is UTC


def test_fixed_clock__naive_time__is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        FixedClock(datetime(2026, 11, 23, 12))  # noqa: DTZ001


def test_rfc3339__any_offset__is_utc_with_z() -> None:
    assert rfc3339(datetime(2026, 11, 23, 14, tzinfo=timezone(timedelta(hours=2)))) == "2026-11-23T12:00:00Z"
