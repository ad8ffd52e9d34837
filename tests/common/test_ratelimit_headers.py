import json
from pathlib import Path

import pytest

from common.ratelimit_headers import RateLimitState, rate_limit_fields

VECTORS = Path(__file__).parent.parent / "vectors"


def test_rate_limit_fields__no_policy__gives_no_fields() -> None:
    assert rate_limit_fields([]) == {}


def test_rate_limit_fields__two_policies__follow_the_draft() -> None:
    states = [
        RateLimitState("burst", limit=100, window_seconds=60, remaining=50, reset_seconds=30),
        RateLimitState("daily", limit=1000, window_seconds=86400, remaining=0, reset_seconds=120),
    ]
    assert rate_limit_fields(states) == {
        "RateLimit-Policy": '"burst";q=100;w=60,"daily";q=1000;w=86400',
        "RateLimit": '"daily";r=0;t=120',
    }


def test_rate_limit_fields__fractions__never_promise_too_much() -> None:
    assert rate_limit_fields([("agent", 10, 60, 4.999, 5.001)])["RateLimit"] == '"agent";r=4;t=6'
    assert rate_limit_fields([("tenant", 10, 60, -1, -0.5)])["RateLimit"] == '"tenant";r=0;t=0'


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([("a", 9, 60, 3, 5), ("b", 9, 60, 2, 1)], '"b";r=2;t=1'),
        ([("a", 9, 60, 2, 5), ("b", 9, 60, 2, 6)], '"b";r=2;t=6'),
        ([("a", 9, 60, 2, 5), ("b", 9, 60, 2, 5)], '"a";r=2;t=5'),
        ([("a", 9, 60, 0, 1), ("b", 9, 3600, 0, 400), ("c", 9, 60, 1, 999)], '"b";r=0;t=400'),
    ],
)
def test_rate_limit_fields__several_policies__tell_of_the_tightest(
    states: list[tuple[str, int, int, float, float]], expected: str
) -> None:
    fields = rate_limit_fields(states)
    assert fields["RateLimit"] == expected
    assert fields["RateLimit-Policy"].count(";q=9;w=") == len(states)


def test_rate_limit_fields__examples_of_the_draft__are_written_the_same_way() -> None:
    examples = json.loads((VECTORS / "ratelimit_fields.json").read_text(encoding="utf-8"))["examples"]
    looked_at = 0
    for example in examples:
        numbers = [each["params"] for each in example["parsed"]]
        if example["field"] == "RateLimit-Policy" and all(each.keys() == {"q", "w"} for each in numbers):
            states = [
                (policy["policy"], each["q"], each["w"], 1, 0)
                for policy, each in zip(example["parsed"], numbers, strict=True)
            ]
            assert rate_limit_fields(states)["RateLimit-Policy"] == example["value"]
        elif example["field"] == "RateLimit" and all(each.keys() == {"r", "t"} for each in numbers):
            [(name, each)] = [(policy["policy"], policy["params"]) for policy in example["parsed"]]
            assert rate_limit_fields([(name, 9, 9, each["r"], each["t"])])["RateLimit"] == example["value"]
        else:
            continue
        looked_at += 1
    assert looked_at >= 3


def test_rate_limit_fields__quotes_in_a_name__are_escaped() -> None:
    assert rate_limit_fields([('a"\\b', 1, 1, 1, 0)])["RateLimit"] == r'"a\"\\b";r=1;t=0'


def test_rate_limit_fields__name_outside_ascii__is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        rate_limit_fields([("a\r\nSet-Cookie: x", 1, 1, 1, 0)])
