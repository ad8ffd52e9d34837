"""One stack that the tests of this folder may hurt. What they break it mends by itself, never by a restart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.stack_fixtures import ROUND, LiveStack


@pytest.fixture(scope="session")
def hurt_stack(django_db_blocker: Any) -> Iterator[LiveStack]:
    """A stack whose processes are killed and stopped; whoever does so waits until it is whole again."""
    # After this a database that is silent is given up, a killed worker's job is taken over, and beat comes round again:
    # the defaults would make the tests wait for nothing.
    stack = LiveStack(DATABASE_TIMEOUT="3", PERMETER_JOB_LEASE_SECONDS="10", PERMETER_LONGEST_ROUND_SECONDS=ROUND)
    stack.django_blocker = django_db_blocker
    try:
        yield stack.start()
    finally:
        stack.remove()
