from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _nobody_known() -> None:
    """Each test begins as a process does that has just started."""
    from agent_api.use_cases import known_callers

    known_callers.forget_all()
