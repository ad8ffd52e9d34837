"""Load from outside: `wrk` where it is installed, as it is no bottleneck; else plain threads with connections."""

import http.client
import re
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 5
CLIENTS = 64

_WRK = """
local keys = {%s}
local body = [[%s]]
local number = 0
local thread = 0
setup = function(each) thread = thread + 1; each:set("thread", thread) end
request = function()
  number = number + 1
  local id = string.format("%s-%%d-%%d", thread, number)
  local headers = {["Content-Type"] = "application/json"}
  if #keys > 0 then headers["Authorization"] = "Bearer " .. keys[number %% #keys + 1] end
  return wrk.format("POST", nil, headers, (body:gsub("@id@", id)))
end
done = function(summary, latency)
  io.write(string.format("figures %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """Requests a second, errors, and latencies in milliseconds."""

    rate: float
    errors: int
    p50: float
    p99: float


def post(url: str, *, body: str, keys: Sequence[str] = (), seconds: int = SECONDS, clients: int = CLIENTS) -> Figures:
    """Send `body` over and over; `@id@` in it becomes a fresh id, `keys` take turns."""
    tag = f"b{time.monotonic_ns():x}"
    if shutil.which("wrk"):
        return _with_wrk(url, body, keys, seconds, clients, tag)
    return _with_threads(url, body, keys, seconds, clients, tag)


def _with_wrk(url: str, body: str, keys: Sequence[str], seconds: int, clients: int, tag: str) -> Figures:
    script = _WRK % (",".join(f'"{key}"' for key in keys), body, tag)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "load.lua"
        path.write_text(script)
        done = subprocess.run(
            ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "-s", str(path), url],
            capture_output=True,
            text=True,
            check=True,
        )
    found = re.search(r"figures (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout)
    if found is None:
        raise RuntimeError(done.stdout)
    requests, duration, errors, p50, p99 = map(int, found.groups())
    return Figures(requests / (duration / 1e6), errors, p50 / 1000, p99 / 1000)


def _with_threads(url: str, body: str, keys: Sequence[str], seconds: int, clients: int, tag: str) -> Figures:
    parts = urllib.parse.urlsplit(url)
    end = time.monotonic() + seconds
    latencies: list[float] = []
    errors = 0
    lock = threading.Lock()

    def client(place: int) -> None:
        nonlocal errors
        mine: list[float] = []
        failed = 0
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        number = 0
        while (begun := time.monotonic()) < end:
            number += 1
            headers = {"Content-Type": "application/json"}
            if keys:
                headers["Authorization"] = f"Bearer {keys[(place + number) % len(keys)]}"
            connection.request("POST", parts.path, body.replace("@id@", f"{tag}-{place}-{number}"), headers)
            answer = connection.getresponse()
            answer.read()
            failed += answer.status >= 400
            mine.append(time.monotonic() - begun)
        with lock:
            latencies.extend(mine)
            errors += failed

    threads = [threading.Thread(target=client, args=(place,)) for place in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    latencies.sort()
    return Figures(
        len(latencies) / seconds,
        errors,
        1000 * latencies[len(latencies) // 2],
        1000 * latencies[-len(latencies) // 100],
    )
