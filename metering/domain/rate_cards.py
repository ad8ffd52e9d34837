"""Rate cards: what a unit of a source meter costs at a time, and what that comes to for an event.

Of the rows that match an event the one with the most dimensions holds, of several the one that started last. A row
without dimensions catches all. Rows are in force in [starts_at, ends_at).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from uuid import UUID

from common.quantities import MAX_DECIMALS
from metering.domain.dimensions import matches
from metering.domain.numbers import EXACT, ROUNDING

MAX_UNIT_PRICE = Decimal(1_000_000)
"""So that no amount of the largest quantity outgrows what an event holds."""

_STEP = Decimal(1).scaleb(-MAX_DECIMALS)
_EVER = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Rate:
    """A row of a rate card, for one source meter."""

    unit_price: Decimal
    dimensions: Mapping[str, str]
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def holds(self, dimensions: Mapping[str, str], at: datetime) -> bool:
        """Whether it is in force at `at`, for an event with these dimensions."""
        begun = self.starts_at is None or self.starts_at <= at
        return begun and (self.ends_at is None or at < self.ends_at) and matches(self.dimensions, dimensions)


def find_rate(rates: Iterable[Rate], dimensions: Mapping[str, str], at: datetime) -> Rate | None:
    """The row by which an event is priced; None: the card has no rate for it."""
    held = [rate for rate in rates if rate.holds(dimensions, at)]
    # The last criterion only keeps the answer the same whatever the order of the rows.
    return max(
        held,
        key=lambda rate: (len(rate.dimensions), rate.starts_at or _EVER, sorted(rate.dimensions.items())),
        default=None,
    )


def amount(quantity: Decimal, unit_price: Decimal) -> Decimal:
    """What a quantity costs: exact, and only beyond 12 decimals rounded, half away from zero.

    That happens here once, for the event: whatever adds up amounts adds up what is stored.
    """
    exact = EXACT.multiply(quantity, unit_price)
    return exact.quantize(_STEP, context=ROUNDING) if _decimals(exact) > MAX_DECIMALS else exact


def overlapping(rates: Sequence[Rate]) -> tuple[int, int] | None:
    """The places of the first two rows that say the same of the same time; None if all is clear."""
    for later, rate in enumerate(rates):
        for earlier, other in enumerate(rates[:later]):
            if rate.dimensions == other.dimensions and _meet(rate, other):
                return earlier, later
    return None


def derived_event_id(source_event_id: UUID, cost_meter_id: UUID) -> UUID:
    """The id of the amount that one event comes to on one cost meter: the same however often it is worked out.

    A UUIDv7 with the source's time, so that it sorts beside its source.
    """
    digest = bytearray(blake2b(source_event_id.bytes + cost_meter_id.bytes, digest_size=16, person=b"derived").digest())
    digest[:6] = source_event_id.bytes[:6]
    digest[6] = digest[6] & 0x0F | 0x70
    digest[8] = digest[8] & 0x3F | 0x80
    return UUID(bytes=bytes(digest))


def _decimals(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _meet(one: Rate, other: Rate) -> bool:
    return (one.starts_at or _EVER) < (other.ends_at or _NEVER) and (other.starts_at or _EVER) < (one.ends_at or _NEVER)
