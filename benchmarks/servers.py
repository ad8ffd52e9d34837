"""Servers beside the stack: Granian with as many processes as Permeter has, each application at its best setting."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load import Question, post

ROOT = Path(__file__).resolve().parent.parent
WEB_PROCESSES = 2


@contextmanager
def serving(
    application: str,
    *,
    interface: str = "wsgi",
    threads: int | None = None,
    env: Mapping[str, str] | None = None,
    path: str = "/",
) -> Iterator[str]:
    """Serve `module:name` until the block ends → its base URL. `path` has to answer before the block begins."""
    port = free_port()
    command = [sys.executable, "-m", "granian", application, "--interface", interface, "--host", "127.0.0.1"]
    command += ["--no-ws", "--workers", str(WEB_PROCESSES), "--backpressure", "1024", "--log-level", "warning"]
    command += ["--port", str(port)]
    if threads is not None:
        command += ["--blocking-threads", str(threads)]
    # PORT, so that a stack that is served once more knows its own name.
    given = {**os.environ, "PORT": str(port), "PERMETER_WEB_PROCESSES": str(WEB_PROCESSES), **(env or {})}
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, cwd=ROOT, env=given, stdout=log, stderr=log)
        try:
            _wait_until_it_answers(f"http://127.0.0.1:{port}{path}", server, log.fileno())
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(60)


def best_threads(
    application: str,
    question: Callable[[str], Question],
    *,
    choices: tuple[int, ...],
    env: Mapping[str, str] | None = None,
    path: str = "/",
) -> tuple[int, dict[int, float]]:
    """The number of threads a process with the most requests a second, and what each number reached.

    `question` makes what is asked from the base URL. Each number is tried for two seconds after one of warm-up.
    """
    reached: dict[int, float] = {}
    for threads in choices:
        with serving(application, threads=threads, env=env, path=path) as base:
            asked = question(base)
            post(asked, seconds=1)
            reached[threads] = round(post(asked, seconds=2).rate)
    return max(reached, key=lambda threads: reached[threads]), reached


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, within: float = 120) -> None:
    """Wait until an address answers 200. Raises `TimeoutError`."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
    raise TimeoutError(f"{url} does not answer")


def _wait_until_it_answers(url: str, server: subprocess.Popen[bytes], log: int) -> None:
    """Any answer will do; what the server wrote is shown where it ends instead."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    written = os.pread(log, 4000, 0).decode(errors="replace")
    raise RuntimeError(f"{url} does not answer:\n{written}")
