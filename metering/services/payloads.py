"""Fingerprints of payloads by meaning: equal numbers, equal instants and any order of dimensions are one payload."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from uuid import UUID

from common.canonical import canonical_json
from metering.domain.digests import Digest
from metering.domain.holds import SettledLine
from metering.domain.numbers import plain


def usage_fingerprint(
    meter_id: UUID, quantity: Decimal, dimensions: Mapping[str, str], hold_id: UUID | None = None
) -> Digest:
    """Of one usage event, without its time, which the register keeps apart."""
    return UsagePayload(meter_id, dimensions, hold_id).fingerprint(plain(quantity))


class UsagePayload:
    """What many events of a batch have in common: only their quantities are still to come.

    Equal quantities are hashed once.
    """

    __slots__ = ("_found", "_head", "_tail")

    def __init__(self, meter_id: UUID, dimensions: Mapping[str, str], hold_id: UUID | None = None) -> None:
        self._head = f"{meter_id.hex}|"
        parts = [f"{len(name)}:{name}={len(value)}:{value}" for name, value in sorted(dimensions.items())]
        self._tail = "|".join([f"|{hold_id.hex if hold_id else ''}", *parts])
        self._found: dict[str, Digest] = {}

    def fingerprint(self, quantity: str) -> Digest:
        """The fingerprint of an event with this quantity, in plain notation."""
        found = self._found.get(quantity)
        if found is None:
            text = self._head + quantity + self._tail
            found = self._found[quantity] = blake2b(text.encode(), digest_size=16, person=b"usage").hexdigest()
        return found


def ask_fingerprint(
    *,
    mode: str,
    feature: str | None,
    value: object,
    usage: Iterable[tuple[UUID, Decimal, Mapping[str, str]]],
    on_excess: str | None,
) -> Digest:
    """Of an `authorize` that consumes or holds; the lines' order does not matter, a hold's TTL neither."""
    lines = sorted(_dashed(usage_fingerprint(*line)) for line in usage)
    body = {"mode": mode, "feature": feature, "value": value, "usage": lines, "on_excess": on_excess}
    return blake2b(canonical_json(body), digest_size=16, person=b"ask").hexdigest()


def settlement_fingerprint(asked: Sequence[SettledLine], *, final: bool) -> Digest:
    """Of a settlement of a hold."""
    lines = sorted(_dashed(usage_fingerprint(line.meter.id, line.quantity, line.dimensions)) for line in asked)
    body = canonical_json({"lines": lines, "final": final})
    return blake2b(body, digest_size=16, person=b"settle").hexdigest()


def _dashed(digest: Digest) -> str:
    """As UUIDs are written: fingerprints that the register holds were made of lines in this notation."""
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"
