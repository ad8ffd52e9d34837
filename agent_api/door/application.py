"""The ASGI application: the hot endpoints by the coalescing lane, everything else by Django in threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from agent_api.door.answering import Reply, reply_of
from agent_api.door.handing_on import Application, Receive, Send, hand_on
from agent_api.door.heads import Head, read_head
from agent_api.door.lanes import Lanes, WaitingCall
from common.errors import Unavailable

log = structlog.get_logger(__name__)

_STOP_WITHIN = 10.0


class Door:
    """Serves what `read_head` takes; `others` is an ASGI application for the rest.

    Paths in `apart` have applications of their own: what takes long there keeps nobody else waiting, nor they it.
    """

    def __init__(self, others: Application, apart: Mapping[str, Application] | None = None) -> None:
        self._others = others
        self._apart = apart or {}
        self._lanes = Lanes()
        self._lanes.start()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        head = read_head(scope) if scope["type"] == "http" else None
        if head is None:
            await hand_on(self._apart.get(scope.get("path", ""), self._others), scope, receive, send)
            return
        began = time.perf_counter()
        body = await _body(receive)
        if body is None:
            return
        reply = await self._reply(head, body)
        if reply.status >= 400:
            _log(head, reply, began)
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        await send({"type": "http.response.body", "body": reply.body})

    def stop(self) -> None:
        """Answer what was taken in, and take nothing more."""
        self._lanes.stop(_STOP_WITHIN)

    async def _reply(self, head: Head, body: bytes) -> Reply:
        call = WaitingCall(head, body, asyncio.get_running_loop().create_future())
        if not self._lanes.submit(call):
            return reply_of(Unavailable("Too many calls wait here. Come back in a second."), head.request_id)
        return await call.reply

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                # What was taken in is answered before the process ends.
                await asyncio.to_thread(self.stop)
                await send({"type": "lifespan.shutdown.complete"})
                return


async def _body(receive: Receive) -> bytes | None:
    """The whole body, whose length was looked at; None if the caller has gone."""
    message = await receive()
    if message["type"] != "http.request":
        return None
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    parts = [body]
    while message.get("more_body"):
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
    return b"".join(parts)


def _log(head: Head, reply: Reply, began: float) -> None:
    log.info(
        "request.finished",
        method="POST",
        path=head.path,
        status=reply.status,
        duration_ms=round((time.perf_counter() - began) * 1000, 1),
        request_id=head.request_id,
    )
