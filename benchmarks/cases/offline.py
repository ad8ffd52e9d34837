"""Signed licences: what a verification without a connection costs beside a bare Ed25519 one."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from benchmarks import pace
from benchmarks.cases.revocations import call, claims_of, connect, decode, read
from benchmarks.report import interleaved, line
from benchmarks.stack import BenchStack
from benchmarks.world import make_shop

VERIFICATIONS = 2000


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """Verifications a second."""
    stack.django()
    yield _offline_verify(stack)


def _offline_verify(stack: BenchStack) -> dict[str, Any]:
    """One core; keys and status list parsed once, as a verifier does, each token from its text on."""
    from common.clock import real_clock
    from licenses.domain.jose import VerificationKeys
    from licenses.domain.license_tokens import verify_license_token
    from licenses.domain.status_list import read_status_list

    shop = make_shop(levels=("agent", "license", "customer"))
    answer = call(connect(stack.port), "POST", "/agent/v1/tokens", shop.keys[0], {})
    token = answer["token"]
    at = real_clock().now()
    issuer = claims_of(token)["iss"]
    root = issuer[issuer.index("/t/") :]
    keys = VerificationKeys.from_jwks(json.loads(read(stack.port, f"{root}/.well-known/jwks.json")))
    uri = claims_of(token)["status"]["status_list"]["uri"]
    listed = read_status_list(
        read(stack.port, uri[uri.index("/t/") :]), keys, uri=uri, at=at, leeway=timedelta(seconds=60)
    )
    signed, _, last = token.encode().rpartition(b".")
    message, signature = signed, decode(last)
    [key] = keys.by_kid.values()

    def verify() -> float:
        began = time.perf_counter()
        for _ in range(VERIFICATIONS):
            verify_license_token(token, keys, at=at, audience="researcher", issuer=issuer, status_list=listed)
        return VERIFICATIONS / (time.perf_counter() - began)

    def bare() -> float:
        began = time.perf_counter()
        for _ in range(VERIFICATIONS):
            key.verify(signature, message)
        return VERIFICATIONS / (time.perf_counter() - began)

    ours, theirs = interleaved(verify, bare, rounds=pace.ROUNDS)
    return line("offline_verify_vs_ed25519", ours, "verifications/s", "bare Ed25519 verification", theirs)
