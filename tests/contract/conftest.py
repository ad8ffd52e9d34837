from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins as a process does that has just started: it knows nobody, and Valkey has not failed it."""
    from agent_api.use_cases import known_callers
    from licenses.services import gate

    known_callers.forget_all()
    monkeypatch.setattr(gate, "_pause", gate._Pause())


@pytest.fixture(autouse=True, scope="session")
def _patience() -> None:
    """A busy machine must not look like a Valkey that is away: exact counts depend on it."""
    from common import valkey

    valkey.CONNECT_TIMEOUT = valkey.SOCKET_TIMEOUT = 10.0  # type: ignore[misc]
    valkey._client.cache_clear()
