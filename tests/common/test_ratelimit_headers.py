import pytest

from common.ratelimit_headers import RateLimitState, rate_limit_fields


def test_rate_limit_fields__no_policy__gives_no_fields() -> None:
    assert rate_limit_fields([]) == {}


def test_rate_limit_fields__two_policies__follow_the_draft() -> None:
    states = [
        RateLimitState("burst", limit=100, window_seconds=60, remaining=50, reset_seconds=30),
        RateLimitState("daily", limit=1000, window_seconds=86400, remaining=0, reset_seconds=120),
    ]
    assert rate_limit_fields(states) == {
        "RateLimit-Policy": '"burst";q=100;w=60,"daily";q=1000;w=86400',
        "RateLimit": '"burst";r=50;t=30,"daily";r=0;t=120',
    }


def test_rate_limit_fields__fractions__never_promise_too_much() -> None:
    fields = rate_limit_fields([("agent", 10, 60, 4.999, 5.001), ("tenant", 10, 60, -1, -0.5)])
    assert fields["RateLimit"] == '"agent";r=4;t=6,"tenant";r=0;t=0'


def test_rate_limit_fields__quotes_in_a_name__are_escaped() -> None:
    assert rate_limit_fields([('a"\\b', 1, 1, 1, 0)])["RateLimit"] == r'"a\"\\b";r=1;t=0'


def test_rate_limit_fields__name_outside_ascii__is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        rate_limit_fields([("a\r\nSet-Cookie: x", 1, 1, 1, 0)])
