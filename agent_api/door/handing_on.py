"""Requests on their way to Django's threads, of which there are few: whoever is slow or has gone keeps none.

A body that is no longer than a call's may be is read before a thread is taken; of a longer one each piece has to come
in time. Where the caller goes in the middle of it, the reader is told that it broke off: the server's own word for
that is an empty last piece, which would pass for the end of a body without a length. What is streamed to a caller who
has gone, or takes nothing more of it, is not made any further.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_from_bytes

from common.http_json import MAX_BODY

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

#: Seconds in which a body that is read ahead, and each piece of a longer one, has to come.
IN_TIME: Final = 30.0
#: Seconds in which a caller has to take a piece of the answer.
TAKEN_WITHIN: Final = 60.0
#: Under which key of the scope stands that its caller has gone.
_GONE: Final = "permeter.gone"
_WITHOUT_BODY: Final = {"GET", "HEAD", "OPTIONS"}
_ASCII: Final = bytes(range(0x21, 0x7F)).decode()


class BodyBrokeOff(OSError):
    """The caller has gone, or was silent for too long, in the middle of the body."""


async def hand_on(others: Application, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Have `others`, an application in threads, answer this request."""
    passed = {**scope, "query_string": _ascii(scope.get("query_string", b"")), "headers": _named_plainly(scope)}
    body = _Body(receive)
    if _brings_body(scope):
        await body.read_ahead()
    answer = _AnswerOut(passed, body, send)
    try:
        await others(passed, body.next, answer.send)
    finally:
        answer.end()


def while_wanted(application: WSGIApplication) -> WSGIApplication:
    """The WSGI application, which makes no more of an answer that nobody is there for."""

    def wanted(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        scope = environ.get("asgi.scope", {})
        return _Wanted(application(environ, start_response), scope)

    return wanted


class _Wanted:
    """The pieces of an answer, until its caller has gone."""

    def __init__(self, pieces: Iterable[bytes], scope: MutableMapping[str, Any]) -> None:
        self._pieces = pieces
        self._scope = scope

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if self._scope.get(_GONE):
                return
            yield piece

    def close(self) -> None:
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


class _Body:
    """A request's body; `ended` once there is nothing more to come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ahead: list[Message] = []
        self._broken = False
        self.ended = False

    async def read_ahead(self) -> None:
        """Read what a call's body may have; the rest comes when it is asked for. What breaks is told then."""
        size = 0
        try:
            async with asyncio.timeout(IN_TIME):
                while not self.ended and size <= MAX_BODY:
                    message = await self._receive_piece()
                    size += len(message.get("body", b""))
                    self._ahead.append(message)
        except (BodyBrokeOff, TimeoutError):
            self._broken = True

    async def next(self) -> Message:
        """The next piece. Raises BodyBrokeOff."""
        if self._ahead:
            return self._ahead.pop(0)
        if self._broken:
            raise BodyBrokeOff("The body did not come.")
        try:
            async with asyncio.timeout(IN_TIME):
                return await self._receive_piece()
        except TimeoutError:
            self._broken = True
            raise BodyBrokeOff("The body did not come.") from None

    async def wait_until_gone(self) -> None:
        """Return when the caller has gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _receive_piece(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request":
            self._broken = True
            raise BodyBrokeOff("The caller has gone.")
        self.ended = not message.get("more_body")
        return message


class _AnswerOut:
    """The answer on its way to the caller, who is looked after where it is streamed."""

    def __init__(self, scope: MutableMapping[str, Any], body: _Body, send: Send) -> None:
        self._scope = scope
        self._body = body
        self._send = send
        self._watch: asyncio.Task[None] | None = None

    async def send(self, message: Message) -> None:
        if self._scope.get(_GONE):
            return
        if message["type"] == "http.response.start" and self._is_streamed(message):
            self._watch = asyncio.create_task(self._note_when_gone())
        try:
            async with asyncio.timeout(TAKEN_WITHIN):
                await self._send(message)
        except TimeoutError:
            # Raised, it would leave the thread waiting for somebody who takes the next piece.
            self._scope[_GONE] = True

    def end(self) -> None:
        if self._watch is not None:
            self._watch.cancel()

    def _is_streamed(self, start: Message) -> bool:
        nothing_to_come = self._body.ended or self._scope["method"] in _WITHOUT_BODY
        return nothing_to_come and not any(name == b"content-length" for name, _ in start["headers"])

    async def _note_when_gone(self) -> None:
        await self._body.wait_until_gone()
        self._scope[_GONE] = True


def _brings_body(scope: MutableMapping[str, Any]) -> bool:
    return scope["method"] not in _WITHOUT_BODY


def _ascii(query: bytes) -> bytes:
    """The query with what some send unescaped, though it is not ASCII."""
    return query if query.isascii() else quote_from_bytes(query, safe=_ASCII).encode()


def _named_plainly(scope: MutableMapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """The header fields without those that WSGI could not tell from others: proxies set `X-Forwarded-For`, and let
    `X_Forwarded_For` of a caller's own pass.
    """
    return [(name, value) for name, value in scope["headers"] if b"_" not in name]
