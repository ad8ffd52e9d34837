"""What is handed on to Django's threads: nobody who is slow or has gone keeps one, and nothing is taken for whole
that is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from a2wsgi import WSGIMiddleware

from agent_api.door import handing_on
from agent_api.door.application import Door
from agent_api.door.handing_on import hand_on, while_wanted
from agent_api.door.heads import read_head
from common.http_json import MAX_BODY

GONE = {"type": "http.disconnect"}


def scope_of(
    method: str = "POST", path: str = "/", query: bytes = b"", fields: Mapping[str, str] | None = None
) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "http_version": "1.1",
        "headers": [(name.encode(), value.encode()) for name, value in (fields or {}).items()],
        "client": ("127.0.0.1", 1),
    }


def piece(data: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


def in_one_thread(application: Any) -> Any:
    wanted: Any = while_wanted(application)
    return WSGIMiddleware(wanted, workers=1)


def coming(messages: Sequence[Mapping[str, Any]]) -> Callable[[], Awaitable[Any]]:
    """These messages, and then nothing more, ever."""
    left = list(messages)

    async def receive() -> Any:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return receive


async def handed_on(application: Any, scope: dict[str, Any], messages: Sequence[Mapping[str, Any]]) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await hand_on(in_one_thread(application), scope, coming(messages), send)
    return sent


def reading(environ: Any, start_response: Any) -> list[bytes]:
    """Says how its body ended."""
    try:
        size = sum(map(len, iter(lambda: environ["wsgi.input"].read(65536), b"")))
        said = f"whole {size}"
    except OSError:
        said = "broken"
    start_response("200 OK", [("Content-Length", str(len(said)))])
    return [said.encode()]


@pytest.mark.parametrize("size", [5, MAX_BODY + 1, 3 * MAX_BODY])
def test_body__comes_to_its_end__is_whole(size: int) -> None:
    pieces = [piece(b"x" * (size - 1), more=True), piece(b"x", more=False)]

    [_, body, _] = asyncio.run(handed_on(reading, scope_of(), pieces))

    assert body["body"] == f"whole {size}".encode()


@pytest.mark.parametrize("size", [5, MAX_BODY + 1])
def test_body__caller_goes_in_the_middle__is_not_taken_for_whole(size: int) -> None:
    [_, body, _] = asyncio.run(handed_on(reading, scope_of(), [piece(b"x" * size, more=True), GONE]))

    assert body["body"] == b"broken"


@pytest.mark.parametrize("size", [5, MAX_BODY + 1])
def test_body__caller_falls_silent__is_given_up(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handing_on, "IN_TIME", 0.1)

    [_, body, _] = asyncio.run(handed_on(reading, scope_of(), [piece(b"x" * size, more=True)]))

    assert body["body"] == b"broken"


def test_body__not_there_yet__takes_no_thread() -> None:
    async def ask() -> bytes:
        threads = in_one_thread(reading)
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        slow = [asyncio.create_task(hand_on(threads, scope_of(), coming([]), send)) for _ in range(5)]
        await asyncio.sleep(0)
        await asyncio.wait_for(hand_on(threads, scope_of(), coming([piece(b"quick", more=False)]), send), 30)
        for task in slow:
            task.cancel()
        return bytes(sent[1]["body"])

    assert asyncio.run(ask()) == b"whole 5"


def streaming(made: list[int]) -> Any:
    """An endless answer, which writes down what it has made."""

    def application(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])

        def pieces() -> Iterator[bytes]:
            try:
                while True:
                    made.append(1)
                    yield b"x"
            finally:
                made.append(0)

        return pieces()

    return application


def test_stream__caller_has_gone__ends() -> None:
    made: list[int] = []

    asyncio.run(asyncio.wait_for(handed_on(streaming(made), scope_of("GET"), [piece(b"", more=False), GONE]), 30))

    assert made[-1] == 0


def test_stream__caller_takes_nothing_more__ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handing_on, "TAKEN_WITHIN", 0.1)
    made: list[int] = []

    async def ask() -> None:
        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

        await hand_on(in_one_thread(streaming(made)), scope_of("GET"), coming([]), send)

    asyncio.run(asyncio.wait_for(ask(), 30))

    assert made[-1] == 0


def telling(name: str) -> Any:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [str(environ.get(name)).encode()]

    return application


def test_query__not_ascii__is_escaped() -> None:
    sent = asyncio.run(handed_on(telling("QUERY_STRING"), scope_of("GET", query="q=é&r=%20[1]".encode()), []))

    assert sent[1]["body"] == b"q=%C3%A9&r=%20[1]"


def test_field__that_wsgi_takes_for_another__is_left_out() -> None:
    fields = {"x-forwarded-for": "192.0.2.1", "x_forwarded_for": "198.51.100.1"}

    sent = asyncio.run(handed_on(telling("HTTP_X_FORWARDED_FOR"), scope_of("GET", fields=fields), []))

    assert sent[1]["body"] == b"192.0.2.1"
    one = scope_of(path="/agent/v1/validate", fields={"host": "testserver", "x_forwarded_for": "198.51.100.1"})
    assert read_head(one) is None


def test_door__path_apart__does_not_wait_for_the_rest() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    door = Door(_nobody, apart={"/livez": in_one_thread(telling("PATH_INFO"))})

    asyncio.run(door(scope_of("GET", "/livez"), coming([]), send))
    door.stop()

    assert sent[1]["body"] == b"/livez"


async def _nobody(scope: Any, _receive: Any, _send: Any) -> None:
    raise AssertionError(f"nothing here is for Django: {scope['path']}")
