"""Load from outside: `wrk` where it is installed, as it is no bottleneck; else plain threads with connections."""

import http.client
import json
import random
import re
import resource
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import pace

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_WRK = """
local keys = {%(keys)s}
local body = [[%(body)s]]
local number = 0
local thread = 0
local fixed = nil
setup = function(each) thread = thread + 1; each:set("thread", thread) end
request = function()
  if fixed then return fixed end
  number = number + 1
  local headers = {["Content-Type"] = "application/json"}
  if #keys > 0 then headers["Authorization"] = "%(scheme)s " .. keys[number %% #keys + 1] end
  local id = string.format("%(tag)s-%%d-%%d", thread, number)
  local text = wrk.format("POST", nil, headers, (body:gsub("@id@", id)))
  if #keys == 0 and not body:find("@id@", 1, true) then fixed = text end
  return text
end
done = function(summary, latency)
  io.write(string.format("figures %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write,
    latency:percentile(50), latency:percentile(99)))
end
"""
# Milliseconds between an answer and the next question of the same client, as strangers come: exponentially distributed.
_PAUSES = """
math.randomseed(%(seed)d)
delay = function() return math.floor(0.5 - math.log(1 - math.random()) * %(pause)f) end
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """Requests a second, errors, latencies in milliseconds, and seconds that the client itself was on a core."""

    rate: float
    errors: int
    p50: float
    p99: float
    seconds: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Question:
    """What is sent over and over; `@id@` in the body becomes a fresh id, `keys` take turns."""

    url: str
    body: str = "{}"
    keys: Sequence[str] = ()
    scheme: str = "Bearer"


def post(question: Question, *, seconds: int | None = None, clients: int = pace.CLIENTS, pause: float = 0.0) -> Figures:
    """Load from so many clients that each ask again when they have their answer, or `pause` milliseconds after it."""
    tag = f"b{time.monotonic_ns():x}"
    if shutil.which("wrk"):
        return _with_wrk(question, seconds or pace.SECONDS, clients, pause, tag)
    return _with_threads(question, seconds or pace.SECONDS, clients, pause, tag)


def ask_once(question: Question) -> Any:
    """One call and its answer, by JSON. Raises `RuntimeError` where it is an error, or says that it is not allowed."""
    body = question.body.replace("@id@", f"once-{time.monotonic_ns():x}")
    headers = {"Content-Type": "application/json"}
    if question.keys:
        headers["Authorization"] = f"{question.scheme} {question.keys[0]}"
    parts = urllib.parse.urlsplit(question.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request("POST", parts.path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    read = json.loads(text) if answer.status < 400 else {}
    if answer.status >= 400 or not (read.get("allowed", True) and read.get("valid", True)):
        raise RuntimeError(f"{question.url} answers {answer.status}: {text[:1000]!r}")
    return read


def client_name() -> str:
    """Which client the load comes from."""
    return "wrk" if shutil.which("wrk") else "bundled"


def _with_wrk(question: Question, seconds: int, clients: int, pause: float, tag: str) -> Figures:
    script = _WRK % {
        "keys": ",".join(f'"{key}"' for key in question.keys),
        "body": question.body,
        "scheme": question.scheme,
        "tag": tag,
    }
    if pause:
        script += _PAUSES % {"seed": time.monotonic_ns() % 1_000_000, "pause": pause}
    before = _cpu(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "load.lua"
        path.write_text(script)
        done = subprocess.run(
            ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "-s", str(path), question.url],
            capture_output=True,
            text=True,
            check=True,
        )
    found = re.search(r"figures (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout)
    if found is None:
        raise RuntimeError(done.stdout)
    requests, duration, errors, p50, p99 = map(int, found.groups())
    used = _cpu(resource.RUSAGE_CHILDREN) - before
    return Figures(requests / (duration / 1e6), errors, p50 / 1000, p99 / 1000, duration / 1e6, used)


def _with_threads(question: Question, seconds: int, clients: int, pause: float, tag: str) -> Figures:
    parts = urllib.parse.urlsplit(question.url)
    before, begun_at = _cpu(resource.RUSAGE_SELF), time.monotonic()
    end = begun_at + seconds
    latencies: list[float] = []
    errors = 0
    lock = threading.Lock()

    def client(place: int) -> None:
        nonlocal errors
        mine: list[float] = []
        failed = 0
        number = 0
        try:
            with socket.create_connection((parts.hostname or "", parts.port or 80)) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while (begun := time.monotonic()) < end:
                    number += 1
                    key = question.keys[(place + number) % len(question.keys)] if question.keys else ""
                    body = question.body.replace("@id@", f"{tag}-{place}-{number}")
                    connection.sendall(_request(parts, question.scheme, key, body))
                    failed += _answered(connection) >= 400
                    mine.append(time.monotonic() - begun)
                    if pause:
                        time.sleep(random.expovariate(1000 / pause))
        except OSError:
            failed += 1
        with lock:
            latencies.extend(mine)
            errors += failed

    threads = [threading.Thread(target=client, args=(place,)) for place in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - begun_at
    answered = len(latencies)
    latencies = sorted(latencies) or [float(seconds)]
    return Figures(
        answered / took,
        errors,
        1000 * latencies[len(latencies) // 2],
        1000 * latencies[-1 - len(latencies) // 100],
        took,
        _cpu(resource.RUSAGE_SELF) - before,
    )


def _request(parts: urllib.parse.SplitResult, scheme: str, key: str, body: str) -> bytes:
    """In one piece. The standard library's client takes five times as long, all of it under one lock."""
    authorization = f"Authorization: {scheme} {key}\r\n" if key else ""
    return (
        f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n{authorization}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode("ascii")


def _answered(connection: socket.socket) -> int:
    """Read one answer to its end → its status."""
    read = b""
    while (head := read.find(b"\r\n\r\n")) < 0:
        read += _more(connection)
    length = _LENGTH.search(read, 0, head + 2)
    if length is None:
        # In chunks, as what says nothing of its length is sent.
        while not read.endswith(b"\r\n0\r\n\r\n"):
            read += _more(connection)
    else:
        left = head + 4 + int(length[1]) - len(read)
        while left > 0:
            left -= len(_more(connection))
    return int(read[9:12])


def _more(connection: socket.socket) -> bytes:
    part = connection.recv(65_536)
    if not part:
        raise ConnectionError("the server has closed the connection")
    return part


def _cpu(whose: int) -> float:
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime
