"""A plain HTTP client for the tests that talk to real server processes: one kept connection, nothing hidden.

* `Line` is one connection; what breaks it is `NoAnswer`, and the next call opens another.
* `lines_to_each_process(stack, count)` gives lines to every web process, so that no cache is left out by chance.
* `Load` calls in many threads until it is told to stop.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import psutil

from tests.stack_fixtures import LiveStack

T = TypeVar("T")

PROBLEM = "application/problem+json"
BASE_MEMBERS = {"type", "title", "status", "detail", "code", "request_id", "errors"}


class NoAnswer(Exception):
    """The connection broke before an answer came."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `began` and `ended` are monotonic."""

    status: int
    headers: Mapping[str, str]
    raw: bytes
    began: float = 0.0
    ended: float = 0.0

    @property
    def json(self) -> Any:
        return json.loads(self.raw) if self.raw else None

    def __getitem__(self, name: str) -> Any:
        return self.json[name]

    @property
    def code(self) -> str:
        """The stable code of a problem document, which is checked for its form."""
        body = self.json
        assert self.headers["content-type"] == PROBLEM, self
        assert set(body) >= BASE_MEMBERS, self
        assert body["status"] == self.status, self
        assert body["request_id"] == self.headers["x-request-id"], self
        if self.status == 503:
            assert int(self.headers["retry-after"]) >= 1, self
        return str(body["code"])

    @property
    def says_yes(self) -> bool:
        """Whether it lets somebody do something (validate, authorize)."""
        return self.status == 200 and bool(self.json.get("valid", self.json.get("allowed")))


class Line:
    """One connection to the web server, opened when it is first used."""

    def __init__(self, stack: LiveStack, *, key: str | None = None, timeout: float = 60) -> None:
        self.stack, self.key, self.timeout = stack, key, timeout
        self.connection: http.client.HTTPConnection | None = None

    def agent(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        return self.call(method, "/agent/v1" + path, body, **more)

    def vendor(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        return self.call(method, "/vendor/v1" + path, body, **more)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        raw: bytes | None = None,
        headers: Sequence[tuple[str, str]] | Mapping[str, str] = (),
    ) -> Answer:
        """One request; a field can be sent twice. `key` "" sends none. Raises NoAnswer."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        fields = list(headers.items() if isinstance(headers, Mapping) else headers)
        named = {name.lower() for name, _ in fields}
        key = self.key if key is None else key
        if key and "authorization" not in named:
            fields.append(("Authorization", f"Bearer {key}"))
        if data is not None and "content-type" not in named:
            fields.append(("Content-Type", "application/json"))
        began = time.monotonic()
        try:
            connection = self.opened()
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in fields:
                connection.putheader(name, value)
            if "transfer-encoding" not in named and "content-length" not in named:
                connection.putheader("Content-Length", str(len(data or b"")))
            with suppress(BrokenPipeError, ConnectionResetError):
                # Whoever refuses a body need not read it to its end; the answer is there all the same.
                connection.endheaders(data)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NoAnswer(repr(error)) from error
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, content, began, time.monotonic())

    def opened(self) -> http.client.HTTPConnection:
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=self.timeout)
            self.connection.connect()
        return self.connection

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    @property
    def port(self) -> int:
        """The port on this side."""
        return int(self.opened().sock.getsockname()[1])


def lines_to_each_process(stack: LiveStack, count: int, *, key: str | None = None) -> list[Line]:
    """`count` lines, spread evenly over the web processes: the kernel chooses, so more are opened than are kept."""
    end = time.monotonic() + 30
    while len(stack.pids("web-process")) < 2:
        assert time.monotonic() < end, "a web process is missing"
        time.sleep(0.05)
    by_process: dict[int, list[Line]] = {pid: [] for pid in stack.pids("web-process")}
    each = -(-count // len(by_process))
    while min(map(len, by_process.values())) < each:
        assert time.monotonic() < end, {pid: len(lines) for pid, lines in by_process.items()}
        fresh = [Line(stack, key=key) for _ in range(8)]
        for line in fresh:
            line.call("GET", "/livez")
        owners = {
            connection.raddr.port: pid
            for pid in by_process
            for connection in psutil.Process(pid).net_connections("tcp")
            if connection.raddr
        }
        for line in fresh:
            lines = by_process.get(owners.get(line.port, 0), [])
            if len(lines) < each:
                lines.append(line)
            else:
                line.close()
    chosen = [lines[place] for place in range(each) for lines in by_process.values()]
    for line in chosen[count:]:
        line.close()
    return chosen[:count]


def in_parallel(calls: Sequence[Callable[[], T]], *, threads: int = 32) -> list[T]:
    """What each call returned, in order; raises what one of them raised."""
    with ThreadPoolExecutor(threads) as pool:
        return [each.result() for each in [pool.submit(call) for call in calls]]


class Load:
    """`work(line)` over and over in one thread a line, until it is stopped."""

    def __init__(self, lines: Sequence[Line], work: Callable[[Line], T]) -> None:
        self.work = work
        self.results: list[Any] = []
        self.rounds = [0] * len(lines)
        self._stopped = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(place, line), daemon=True) for place, line in enumerate(lines)
        ]

    def _run(self, place: int, line: Line) -> None:
        try:
            while not self._stopped.is_set():
                self.results.append(self.work(line))
                self.rounds[place] += 1
        except BaseException as error:  # noqa: BLE001 - told by `stop`
            self._errors.append(error)
        finally:
            line.close()

    def wait_for_rounds(self, more: int = 1, *, within: float = 60) -> None:
        """Until every thread has done so many rounds more."""
        wanted = [count + more for count in self.rounds]
        end = time.monotonic() + within
        while any(count < goal for count, goal in zip(self.rounds, wanted, strict=True)):
            if self._errors:
                raise self._errors[0]
            assert time.monotonic() < end, f"rounds {self.rounds} after {within:.0f} s"
            time.sleep(0.005)

    def stop(self) -> list[Any]:
        """The results; raises what a thread raised."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive(), "a call hangs"
        if self._errors:
            raise self._errors[0]
        return self.results

    def start(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self


@contextmanager
def under_load(lines: Sequence[Line], work: Callable[[Line], Any]) -> Iterator[Load]:
    """A load that is ended with the block, whatever happens in it."""
    load = Load(lines, work).start()
    try:
        yield load
    except BaseException:
        load._stopped.set()
        raise
    load.stop()


def until(found: Callable[[], T], *, within: float = 60, every: float = 0.05) -> T:
    """What `found` returns once it is true."""
    end = time.monotonic() + within
    while not (value := found()):
        assert time.monotonic() < end, f"not so after {within:.0f} s"
        time.sleep(every)
    return value
