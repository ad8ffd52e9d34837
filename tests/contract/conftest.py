from __future__ import annotations

import pytest

#: What the coalescing door serves, too: these tests go through it as well as through Django's views.
_BOTH_WAYS = (
    "test_authorize",
    "test_bad_input",
    "test_cost_meters",
    "test_hold_limits",
    "test_holds",
    "test_keys",
    "test_publishable_keys",
    "test_rate_limits",
    "test_usage",
    "test_validate",
    "test_valued_meters",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2] in _BOTH_WAYS:
        metafunc.parametrize("_shell", ["views", "door"], indirect=True)


@pytest.fixture(autouse=True)
def _shell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through Django's views, or by the coalescing door."""
    from tests.agent_door import AgentDoor

    monkeypatch.setattr(AgentDoor, "coalescing", getattr(request, "param", "views") == "door")


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
