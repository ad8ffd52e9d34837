"""Meters that do not add up: proven, rebuilt, and check-pointed when months go."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from metering.domain.enums import Aggregation, Period
from metering.models import Balance, BalanceValue, Meter
from metering.selectors.history import months_of_events
from metering.selectors.kept_values import scope_of
from metering.services.balance_values import seed_values
from metering.services.closing import close_periods
from metering.services.dropping import drop_old_events
from metering.services.partitions import ensure_partitions
from metering.services.repairing import repair_ledger
from metering.services.rollups import roll_up_usage
from metering.services.verification import verify_ledger
from tests.factories import ACTOR
from tests.metering.ledger_rows import DECEMBER, NOVEMBER, OCTOBER, Workspace

pytestmark = pytest.mark.django_db(transaction=True)

#: What 3, 7, 3 in October and 5, 3 in November come to, in October and for ever.
COMES_TO = {Aggregation.MAX: (7, 7), Aggregation.UNIQUE: (2, 3), Aggregation.LATEST: (3, 3)}
VALUED = list(COMES_TO)


def valued(aggregation: Aggregation) -> tuple[Balance, Balance]:
    """October's balance and a lifetime's of a meter that does not add up, as the ledger leaves them."""
    with connection.cursor() as cursor:
        for month in months_of_events():
            cursor.execute(f"DROP TABLE {month.name}")
    ensure_partitions(OCTOBER, 2)
    workspace = Workspace.make()
    Meter.objects.filter(pk=workspace.meter.pk).update(aggregation=aggregation)
    october = workspace.balance(workspace.quota(), month=OCTOBER)
    lifetime = workspace.balance(workspace.quota(period=Period.LIFETIME))
    for month, quantities in ((OCTOBER, "373"), (NOVEMBER, "53")):
        for day, quantity in enumerate(quantities):
            workspace.use(quantity, at=month + timedelta(days=day))
    for balance, used in zip((october, lifetime), COMES_TO[aggregation], strict=True):
        Balance.objects.filter(pk=balance.pk).update(used=used)
        if aggregation is Aggregation.UNIQUE:
            seed_values(scope_of(Balance.objects.select_related("meter").get(pk=balance.pk)))
    close_periods(now=DECEMBER + timedelta(days=1))
    roll_up_usage()
    return october, lifetime


@pytest.mark.parametrize("aggregation", VALUED)
def test_verify__sound_and_then_changed_by_hand__is_found_and_rebuilt(aggregation: Aggregation) -> None:
    _, lifetime = valued(aggregation)
    assert verify_ledger().differences == ()
    Balance.objects.filter(pk=lifetime.pk).update(used=9)

    [found] = verify_ledger(jobs=2).differences
    assert (found.kind, found.subject) == ("balance", lifetime.public_id)
    assert f"has used 9, its events come to {COMES_TO[aggregation][1]}." in found.text

    assert repair_ledger(actor=ACTOR).after.differences == ()
    assert Balance.objects.get(pk=lifetime.pk).used == COMES_TO[aggregation][1]


def test_verify__value_that_no_event_carries__is_found_and_rebuilt() -> None:
    _, lifetime = valued(Aggregation.UNIQUE)
    BalanceValue.objects.filter(balance=lifetime).update(events=9)

    assert [found.subject for found in verify_ledger().differences] == [lifetime.public_id]
    assert repair_ledger(actor=ACTOR).after.differences == ()


@pytest.mark.parametrize("aggregation", VALUED)
def test_drop__of_their_events__keeps_what_they_came_to(
    aggregation: Aggregation, settings: Any, tmp_path: Path
) -> None:
    settings.PERMETER_EVENT_RETENTION = timedelta(days=100)
    october, lifetime = valued(aggregation)

    for later in (0, 31):
        now = NOVEMBER + timedelta(days=102 + later)
        assert len(drop_old_events(export_to=tmp_path, now=now).months) == 1
        assert verify_ledger().differences == ()

    used = [Balance.objects.get(pk=each.pk).used for each in (october, lifetime)]
    assert used == [Decimal(each) for each in COMES_TO[aggregation]]
    if aggregation is not Aggregation.UNIQUE:
        assert [Balance.objects.get(pk=each.pk).base for each in (october, lifetime)] == used
