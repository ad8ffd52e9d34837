"""Telling Valkey of a transaction's bumps: at once, and only of those that were committed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from common.epochs import EpochKey
from common.ids import new_id
from tenants.domain.enums import EpochKind
from tenants.selectors.epochs import read_epochs
from tenants.services import epochs
from tenants.services.epochs import bump_epochs, republish
from tests.factories import make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[EpochKey, int]]:
    """What was published, by flight."""
    flights: list[dict[EpochKey, int]] = []

    def publish(pairs: Any) -> None:
        flights.append({key: version for _, key, version in pairs})

    monkeypatch.setattr(epochs, "publish_epochs", publish)
    return flights


def key(id: UUID) -> EpochKey:
    return EpochKey(EpochKind.AGENT, id)


def test_bump_epochs__many_services_in_one_transaction__are_told_in_one_flight(told: list[Any]) -> None:
    tenant, (one, two, three) = make_workspace(), (key(new_id()) for _ in range(3))
    with transaction.atomic():
        for each in (one, two, one):
            with transaction.atomic():
                bump_epochs(tenant.id, each)
        bump_epochs(tenant.id, three)
        republish(tenant.id, two)
        assert told == []

    [flight] = [each for each in told if one in each]
    assert flight == {one: 2, two: 1, three: 1}
    bump_epochs(tenant.id, one)
    assert told[-1] == {one: 3}


@pytest.mark.parametrize("fails", [0, 1, 2])
def test_bump_epochs__savepoint_rolled_back__tells_nothing_of_it(told: list[Any], fails: int) -> None:
    tenant, keys = make_workspace(), [key(new_id()) for _ in range(3)]
    told.clear()
    with transaction.atomic():
        for place, each in enumerate(keys):
            with transaction.atomic():
                bump_epochs(tenant.id, each)
                transaction.set_rollback(place == fails)

    wanted = {each: 1 for place, each in enumerate(keys) if place != fails}
    assert {each: version for flight in told for each, version in flight.items()} == wanted
    assert read_epochs({tenant.id: keys})[tenant.id] == {each: wanted.get(each, 0) for each in keys}


def test_bump_epochs__transaction_rolled_back__tells_nothing_and_the_next_is_told(told: list[Any]) -> None:
    tenant, (one, two) = make_workspace(), (key(new_id()) for _ in range(2))
    told.clear()
    with transaction.atomic():
        bump_epochs(tenant.id, one)
        transaction.set_rollback(True)
    with transaction.atomic():
        bump_epochs(tenant.id, two)

    assert told == [{two: 1}]
