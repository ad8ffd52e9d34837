"""Revocation under load: who asks after its call has returned is not let in, and a token is listed as revoked."""

import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.report import line
from benchmarks.stack import ROOT, BenchStack
from benchmarks.world import make_shop

WEB_PROCESSES = 4
REVOCATIONS = 200
#: Seconds; on a machine that is busy with something else there are fewer revocations.
LONGEST = 60
CALLERS = 8


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """Acceptances after revoke's return."""
    stack.django()
    yield from _revocations(stack)


def _revocations(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """Agents are revoked one after another, each while many ask in its name; who asks later must not be let in.

    Beside each call the status list is read, where the agent's token must be revoked at once as well.
    """
    with _web(stack) as port:
        shop = make_shop(agents=REVOCATIONS)
        vendor = _vendor_key(shop.tenant_id)
        callers = _Callers(port)
        late = unlisted = asked = done = 0
        took: list[float] = []
        give_up_at = time.monotonic() + LONGEST
        try:
            for agent_id, key in zip(shop.agents, shop.keys, strict=True):
                token = call(connect(port), "POST", "/agent/v1/tokens", key, {})["token"]
                callers.ask_for(key)
                if time.monotonic() > give_up_at:
                    break
                began = time.monotonic()
                answer = call(connect(port), "POST", f"/vendor/v1/agents/{_public(agent_id)}/revoke", vendor, {})
                returned = time.monotonic()
                if answer["status_code"] != 200:
                    raise RuntimeError(answer)
                unlisted += _status_of(port, token) != 1
                took.append((returned - began) * 1000)
                accepted_late, asked_late = callers.late(returned)
                late += accepted_late
                asked += asked_late
                done += 1
        finally:
            callers.stop()
    yield line("acceptances_after_revoke_returned", late, "acceptances", f"calls after {done} revocations", asked)
    yield line("tokens_not_listed_after_revoke_returned", unlisted, "tokens", "revocations", done)
    yield line("revoke_call", statistics.median(took), "ms", "validate under the same load", callers.latency())


class _Callers:
    """Threads that validate with the same key again and again, and note when they asked and what they were told."""

    def __init__(self, port: int) -> None:
        self._key = ""
        self._seen: list[tuple[float, bool]] = []
        self._took: list[float] = []
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(port,), daemon=True) for _ in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def ask_for(self, key: str) -> None:
        """Ask in the name of `key` until each process must know it."""
        self._key, self._seen = key, []
        while sum(accepted for _, accepted in self._seen) < CALLERS:
            time.sleep(0.005)

    def late(self, returned: float) -> tuple[int, int]:
        """How many calls that began after `returned` were let in, and how many there were."""
        while sum(began > returned for began, _ in self._seen) < CALLERS:
            time.sleep(0.005)
        since = [accepted for began, accepted in self._seen if began > returned]
        return sum(since), len(since)

    def latency(self) -> float:
        """What a call of theirs took, in milliseconds, at the median."""
        return statistics.median(self._took)

    def stop(self) -> None:
        """End the threads."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(10)

    def _run(self, port: int) -> None:
        while not self._stopped.is_set():
            # A connection of its own now and then: the kernel gives each to one of the processes.
            connection = connect(port)
            for _ in range(20):
                key, seen = self._key, self._seen
                if not key or self._stopped.is_set():
                    time.sleep(0.005)
                    continue
                began = time.monotonic()
                try:
                    answer = call(connection, "POST", "/agent/v1/validate", key, {})
                except (OSError, HTTPException):
                    break
                self._took.append((time.monotonic() - began) * 1000)
                if key == self._key:
                    seen.append((began, answer["status_code"] == 200 and answer["valid"]))
            connection.close()


@contextmanager
def _web(stack: BenchStack) -> Iterator[int]:
    """Another web server on the stack's stores, with more processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "granian", "licensing_site.wsgi:application", "--interface", "wsgi", "--no-ws"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", str(WEB_PROCESSES)]
    command += ["--blocking-threads", "4", "--backpressure", "256", "--log-level", "warning"]
    # What `stack.django()` has put into this process's own environment leads to the same stores and secrets.
    env = {**os.environ, "PORT": str(stack.port), "PERMETER_WEB_PROCESSES": str(WEB_PROCESSES)}
    with Path(os.devnull).open("wb") as nowhere:
        server = subprocess.Popen(command, cwd=ROOT, env=env, stdout=nowhere, stderr=nowhere)
    try:
        _wait(port)
        yield port
    finally:
        server.terminate()
        server.wait(30)


def _wait(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            connection = connect(port)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except (OSError, HTTPException):
            time.sleep(0.2)
    raise TimeoutError("the web server does not answer")


def _vendor_key(tenant_id: UUID) -> str:
    from tenants.domain.actors import worker
    from tenants.models import Tenant
    from tenants.services.api_keys import create_api_key

    tenant = Tenant.objects.get(pk=tenant_id)
    return create_api_key(tenant=tenant, actor=worker("bench"), name="bench", scopes=["*"]).text


def _public(agent_id: UUID) -> str:
    from common.ids import Prefix, encode_id

    return encode_id(Prefix.AGENT, agent_id)


def _status_of(port: int, token: str) -> int:
    from common.clock import real_clock
    from licenses.domain.jose import VerificationKeys
    from licenses.domain.status_list import read_status_list

    reference = claims_of(token)["status"]["status_list"]
    path = reference["uri"][reference["uri"].index("/t/") :]
    keys = VerificationKeys.from_jwks(json.loads(read(port, f"{path.rpartition('/status')[0]}/.well-known/jwks.json")))
    listed = read_status_list(
        read(port, path), keys, uri=reference["uri"], at=real_clock().now(), leeway=timedelta(seconds=60)
    )
    return listed.status_at(reference["idx"])


def connect(port: int) -> HTTPConnection:
    return HTTPConnection("127.0.0.1", port, timeout=30)


def claims_of(token: str) -> Any:
    return json.loads(decode(token.split(".")[1].encode()))


def decode(part: bytes) -> bytes:
    from licenses.domain.jose import decode_base64url

    return decode_base64url(part)


def read(port: int, path: str) -> bytes:
    connection = connect(port)
    connection.request("GET", path)
    body = connection.getresponse().read()
    connection.close()
    return body


def call(connection: HTTPConnection, method: str, path: str, key: str, body: Any) -> Any:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request(method, path, json.dumps(body), headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    return {"status_code": response.status, **answer}
