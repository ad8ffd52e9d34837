"""Lanes: threads that answer whatever waits in one go, and take what has come meanwhile.

Nobody waits on purpose: where one call comes it goes alone, where many come while the last batch is under way they go
together. One thread does this, because two would meet on the same rows and at the interpreter's lock. It does not wait
for what a workspace keeps locked: such calls go to side lanes, each workspace's together, so that one never holds up
another.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog
from django.db import connection

from agent_api.door.answering import Reply, reply_of
from agent_api.door.heads import Head
from agent_api.door.work import PutAside, answer_calls
from common.errors import Problem
from common.sockets import is_readable

log = structlog.get_logger(__name__)

#: Calls that are answered in one go.
MOST_AT_ONCE: Final = 64
#: Calls that may wait; whoever comes then is told to come back.
MOST_WAITING: Final = 2048
#: Milliseconds that a batch waits for locks: others' batches are done in less.
PATIENCE: Final = 40
#: Seconds for which a workspace that kept others waiting is served by a side lane.
ASIDE_FOR: Final = 1.0
SIDE_LANES: Final = 2


@dataclass(slots=True, eq=False)
class WaitingCall:
    """A call whose body has been read; `reply` is awaited on the loop that it came by."""

    head: Head
    body: bytes
    reply: asyncio.Future[Reply]


class Lanes:
    """The main lane and its side lanes, from `start` to `stop`."""

    def __init__(self) -> None:
        self._waiting: deque[WaitingCall] = deque()
        self._changed = threading.Condition()
        self._open = True
        self._main = threading.Thread(target=self._run, name="door", daemon=True)
        self._side = ThreadPoolExecutor(SIDE_LANES, thread_name_prefix="door-side")
        #: Until when (monotonic) calls of a workspace go to a side lane.
        self._aside: dict[UUID, float] = {}
        self._put_aside = 0

    def start(self) -> None:
        self._main.start()

    def stop(self, within: float) -> None:
        """Answer what waits, take nothing more, and end."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._main.join(within)
        self._side.shutdown()

    def submit(self, call: WaitingCall) -> bool:
        """Let a call wait for its turn; False where too many wait already, or the lanes have ended."""
        with self._changed:
            if not self._open or len(self._waiting) + self._put_aside >= MOST_WAITING:
                return False
            self._waiting.append(call)
            if len(self._waiting) == 1:
                self._changed.notify()
        return True

    def _run(self) -> None:
        while calls := self._take():
            aside = self._still_aside()
            replies = _answers(calls, aside, PATIENCE)
            self._set_aside(calls, replies)
            _deliver(calls, replies)
        connection.close()

    def _take(self) -> list[WaitingCall]:
        """What waits, at most so many; nothing once the lane is closed and empty."""
        with self._changed:
            while not self._waiting and self._open:
                self._changed.wait()
            waiting = self._waiting
            return [waiting.popleft() for _ in range(min(len(waiting), MOST_AT_ONCE))]

    def _still_aside(self) -> frozenset[UUID]:
        if not self._aside:
            return frozenset()
        now = time.monotonic()
        for tenant_id in [tenant_id for tenant_id, until in list(self._aside.items()) if until <= now]:
            self._aside.pop(tenant_id, None)
        return frozenset(self._aside)

    def _set_aside(self, calls: Sequence[WaitingCall], replies: Sequence[Reply | PutAside]) -> None:
        """Hand on what was put aside, by workspace."""
        groups: dict[UUID | None, list[WaitingCall]] = {}
        for call, reply in zip(calls, replies, strict=True):
            if isinstance(reply, PutAside):
                groups.setdefault(reply.tenant_id, []).append(call)
        for tenant_id, group in groups.items():
            with self._changed:
                self._put_aside += len(group)
            self._side.submit(self._do_aside, tenant_id, group)

    def _do_aside(self, tenant_id: UUID | None, calls: Sequence[WaitingCall]) -> None:
        began = time.monotonic()
        try:
            _deliver(calls, _answers(calls, frozenset(), None))
        finally:
            # Back to the pool: nothing may come here for hours.
            connection.close()
            with self._changed:
                self._put_aside -= len(calls)
            ended = time.monotonic()
            if tenant_id is not None and ended - began > PATIENCE / 1000:
                self._aside[tenant_id] = ended + ASIDE_FOR


def _answers(calls: Sequence[WaitingCall], aside: frozenset[UUID], patience: int | None) -> Sequence[Reply | PutAside]:
    _drop_broken_connection()
    try:
        return answer_calls(calls, aside=aside, patience=patience)
    except Exception:
        # Whatever happens, the lane goes on, and nobody is left without an answer.
        log.exception("door.lane_failed")
        return [reply_of(Problem(), call.head.request_id) for call in calls]


def _deliver(calls: Sequence[WaitingCall], replies: Sequence[Reply | PutAside]) -> None:
    ready = [(call, reply) for call, reply in zip(calls, replies, strict=True) if isinstance(reply, Reply)]
    if ready:
        ready[0][0].reply.get_loop().call_soon_threadsafe(_resolve, ready)


def _resolve(ready: Sequence[tuple[WaitingCall, Reply]]) -> None:
    """On the loop: whoever has gone meanwhile is passed over."""
    for call, reply in ready:
        if not call.reply.done():
            call.reply.set_result(reply)


def _drop_broken_connection() -> None:
    """A lane keeps its connection; one that broke, or to which the server has said goodbye, is given up.

    A connection that idles has nothing to read unless the server has gone.
    """
    driver = connection.connection
    if driver is not None and (connection.errors_occurred or driver.closed or is_readable(driver.fileno())):
        connection.close()
