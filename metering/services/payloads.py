"""Fingerprints of payloads by meaning: equal numbers, equal instants and any order of dimensions are one payload."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from uuid import UUID

from common.canonical import canonical_json
from metering.domain.digests import uuid_of
from metering.domain.holds import SettledLine
from metering.domain.numbers import plain


def usage_fingerprint(
    meter_id: UUID, quantity: Decimal, dimensions: Mapping[str, str], hold_id: UUID | None = None
) -> UUID:
    """Of one usage event, without its time, which the register keeps apart."""
    return UsagePayload(meter_id, dimensions, hold_id).fingerprint(plain(quantity))


class UsagePayload:
    """What many events of a batch have in common: only their quantities are still to come."""

    __slots__ = ("_head", "_tail")

    def __init__(self, meter_id: UUID, dimensions: Mapping[str, str], hold_id: UUID | None = None) -> None:
        self._head = f"{meter_id.hex}|"
        parts = [f"{len(name)}:{name}={len(value)}:{value}" for name, value in sorted(dimensions.items())]
        self._tail = "|".join([f"|{hold_id.hex if hold_id else ''}", *parts])

    def fingerprint(self, quantity: str) -> UUID:
        """The fingerprint of an event with this quantity, in plain notation."""
        text = self._head + quantity + self._tail
        return uuid_of(blake2b(text.encode(), digest_size=16, person=b"usage").digest())


def ask_fingerprint(
    *,
    mode: str,
    feature: str | None,
    value: object,
    usage: Iterable[tuple[UUID, Decimal, Mapping[str, str]]],
    on_excess: str | None,
) -> UUID:
    """Of an `authorize` that consumes or holds; the lines' order does not matter, a hold's TTL neither."""
    lines = sorted(str(usage_fingerprint(meter_id, quantity, dimensions)) for meter_id, quantity, dimensions in usage)
    body = {"mode": mode, "feature": feature, "value": value, "usage": lines, "on_excess": on_excess}
    return uuid_of(blake2b(canonical_json(body), digest_size=16, person=b"ask").digest())


def settlement_fingerprint(asked: Sequence[SettledLine], *, final: bool) -> UUID:
    """Of a settlement of a hold."""
    lines = sorted(str(usage_fingerprint(line.meter.id, line.quantity, line.dimensions)) for line in asked)
    return uuid_of(blake2b(canonical_json({"lines": lines, "final": final}), digest_size=16, person=b"settle").digest())
