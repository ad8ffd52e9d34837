"""The state of a quota and what remains of it, at every border."""

from decimal import Decimal

import pytest

from metering.domain.enums import QuotaMode, QuotaState
from metering.domain.quota_state import headroom, quota_state, remaining

HARD, SOFT = QuotaMode.HARD, QuotaMode.SOFT
OK, NEAR, EXCEEDED, OVERAGE = QuotaState.OK, QuotaState.NEAR_LIMIT, QuotaState.EXCEEDED, QuotaState.OVERAGE


Case = tuple[QuotaMode, str, str | None, str, str, str, QuotaState]


@pytest.mark.parametrize(
    "case",
    [
        (HARD, "100", None, "79.999999999999", "0", "0", OK),
        (HARD, "100", None, "80", "0", "0", NEAR),
        (HARD, "100", None, "50", "30", "0", NEAR),
        (HARD, "100", None, "99.999999999999", "0", "0", NEAR),
        (HARD, "100", None, "100", "0", "0", EXCEEDED),
        (HARD, "100", None, "60", "40", "0", EXCEEDED),
        (HARD, "100", None, "140", "0", "0", EXCEEDED),
        (HARD, "100", None, "100", "0", "50", OK),
        (HARD, "100", None, "120", "0", "50", NEAR),
        (HARD, "100", None, "150", "0", "50", EXCEEDED),
        (HARD, "0", None, "0", "0", "0", EXCEEDED),
        (SOFT, "100", None, "79", "50", "0", OK),
        (SOFT, "100", None, "80", "0", "0", NEAR),
        (SOFT, "100", None, "100", "0", "0", NEAR),
        (SOFT, "100", None, "100.000000000001", "0", "0", OVERAGE),
        (SOFT, "100", None, "120", "0", "20", NEAR),
        (SOFT, "0", None, "0", "0", "0", OK),
        (SOFT, "0", None, "0.000000000001", "0", "0", OVERAGE),
        (SOFT, "100", "150", "149", "0", "0", OVERAGE),
        (SOFT, "100", "150", "149", "1", "0", EXCEEDED),
        (SOFT, "100", "150", "150", "0", "10", OVERAGE),
        (SOFT, "100", "150", "160", "0", "10", EXCEEDED),
        (SOFT, "100", "100", "100", "0", "0", EXCEEDED),
        (HARD, "1000000000000000000", None, "999999999999999999.999999999999", "0", "0", NEAR),
    ],
)
def test_quota_state__at_each_border__is_exact(case: Case) -> None:
    mode, limit, ceiling, used, held, top_ups, state = case
    found = quota_state(
        mode=mode,
        limit=Decimal(limit),
        ceiling=None if ceiling is None else Decimal(ceiling),
        used=Decimal(used),
        held=Decimal(held),
        top_ups=Decimal(top_ups),
    )
    assert found is state


@pytest.mark.parametrize(
    ("thresholds", "used", "state"),
    [
        ([50, 90], "49", OK),
        ([50, 90], "50", NEAR),
        ([100, 120], "79", OK),
        ([100, 120], "80", NEAR),
        ([], "80", NEAR),
        ([99], "80", OK),
    ],
)
def test_quota_state__own_thresholds__near_from_the_lowest_below_100(
    thresholds: list[int], used: str, state: QuotaState
) -> None:
    zero = Decimal(0)
    found = quota_state(
        mode=SOFT, limit=Decimal(100), ceiling=None, used=Decimal(used), held=zero, thresholds=thresholds
    )
    assert found is state


@pytest.mark.parametrize(
    ("limit", "used", "held", "top_ups", "left"),
    [
        ("1000000", "1532", "0", "0", "998468"),
        ("100", "60", "40", "0", "0"),
        ("100", "60", "30", "5.5", "15.5"),
        ("100", "140", "0", "0", "0"),
        ("1000000000000000000", "0.000000000001", "0", "0", "999999999999999999.999999999999"),
    ],
)
def test_remaining__whatever_was_used__is_never_negative(
    limit: str, used: str, held: str, top_ups: str, left: str
) -> None:
    assert remaining(Decimal(limit), Decimal(used), Decimal(held), Decimal(top_ups)) == Decimal(left)


def test_headroom__by_mode__ends_at_the_limit_or_the_ceiling_or_never() -> None:
    limit, ceiling, used, held, zero = (Decimal(number) for number in (100, 150, 90, 5, 0))
    assert headroom(mode=HARD, limit=limit, ceiling=None, used=used, held=held, top_ups=zero) == Decimal(5)
    assert headroom(mode=SOFT, limit=limit, ceiling=ceiling, used=used, held=held, top_ups=zero) == Decimal(55)
    assert headroom(mode=SOFT, limit=limit, ceiling=None, used=used, held=held, top_ups=zero) is None
