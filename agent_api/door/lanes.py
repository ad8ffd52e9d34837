"""A lane: a thread that takes whatever waits, answers it in one go, and takes what has come meanwhile.

Nobody waits on purpose: where one call comes it goes alone, where many come while the last batch is under way they go
together. One thread, because two would meet on the same rows and at the interpreter's lock.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from django.db import connection

from agent_api.door.answering import Reply, reply_of
from agent_api.door.heads import Head
from common.errors import Problem
from common.sockets import is_readable

log = structlog.get_logger(__name__)

#: Calls that are answered in one go.
MOST_AT_ONCE = 64
#: Calls that may wait; whoever comes then is told to come back.
MOST_WAITING = 2048


@dataclass(slots=True, eq=False)
class WaitingCall:
    """A call whose body has been read; `reply` is awaited on the loop that it came by."""

    head: Head
    body: bytes
    reply: asyncio.Future[Reply]


class Lane:
    """Answers calls by `work`, in a thread of its own, from `start` to `stop`."""

    def __init__(self, work: Callable[[Sequence[WaitingCall]], Sequence[Reply]], *, name: str) -> None:
        self._work = work
        self._waiting: deque[WaitingCall] = deque()
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, within: float) -> None:
        """Answer what waits, take nothing more, and end."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join(within)

    def submit(self, call: WaitingCall) -> bool:
        """Let a call wait for its turn; False where too many wait already, or the lane has ended."""
        with self._changed:
            if not self._open or len(self._waiting) >= MOST_WAITING:
                return False
            self._waiting.append(call)
            if len(self._waiting) == 1:
                self._changed.notify()
        return True

    def _run(self) -> None:
        while calls := self._take():
            replies = self._answers(calls)
            calls[0].reply.get_loop().call_soon_threadsafe(_deliver, calls, replies)
        connection.close()

    def _take(self) -> list[WaitingCall]:
        """What waits, at most so many; nothing once the lane is closed and empty."""
        with self._changed:
            while not self._waiting and self._open:
                self._changed.wait()
            waiting = self._waiting
            return [waiting.popleft() for _ in range(min(len(waiting), MOST_AT_ONCE))]

    def _answers(self, calls: Sequence[WaitingCall]) -> Sequence[Reply]:
        _drop_broken_connection()
        try:
            return self._work(calls)
        except Exception:
            # Whatever happens, the lane goes on, and nobody is left without an answer.
            log.exception("door.lane_failed")
            return [reply_of(Problem(), call.head.request_id) for call in calls]


def _deliver(calls: Sequence[WaitingCall], replies: Sequence[Reply]) -> None:
    """On the loop: whoever has gone meanwhile is passed over."""
    for call, reply in zip(calls, replies, strict=True):
        if not call.reply.done():
            call.reply.set_result(reply)


def _drop_broken_connection() -> None:
    """The lane keeps its connection; one that broke, or to which the server has said goodbye, is given up.

    A connection that idles has nothing to read unless the server has gone.
    """
    driver = connection.connection
    if driver is not None and (connection.errors_occurred or driver.closed or is_readable(driver.fileno())):
        connection.close()
