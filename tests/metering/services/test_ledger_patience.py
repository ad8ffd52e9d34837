"""How long the ledger goes on trying to reach a database."""

from __future__ import annotations

from itertools import chain, repeat
from types import SimpleNamespace

import pytest
from django.db import OperationalError
from psycopg import errors

from common.errors import Unavailable
from metering.services import ledger


@pytest.mark.parametrize(
    ("cause", "attempts"),
    [(errors.ConnectionTimeout("silent"), 1), (errors.AdminShutdown("gone"), 2)],
)
def test_post__database_silent_for_ten_seconds__is_asked_again_only_if_it_went_away(
    monkeypatch: pytest.MonkeyPatch, cause: Exception, attempts: int
) -> None:
    made = []

    def attempt(work: ledger._Work) -> None:
        made.append(work)
        raise OperationalError from cause

    times = chain([0.0, 10.0], repeat(20.0))
    monkeypatch.setattr(ledger._Work, "attempt", attempt)
    monkeypatch.setattr(ledger, "connection", SimpleNamespace(in_atomic_block=False, close=lambda: None))
    monkeypatch.setattr(ledger, "time", SimpleNamespace(monotonic=lambda: next(times), sleep=lambda _: None))

    with pytest.raises(Unavailable):
        ledger.post([])

    assert len(made) == attempts
