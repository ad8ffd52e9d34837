"""The terms of a price, checked when they are made, so that rating never meets terms that make no sense."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from metering.domain.enums import PriceModel
from metering.domain.money import CurrencyError, normalize_currency
from metering.domain.numbers import ZERO

MAX_TIERS = 100
MAX_NUMBER = Decimal(10) ** 18
MAX_DECIMALS = 12

_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,3})?")

_OWN_FIELDS: Mapping[PriceModel, frozenset[str]] = {
    PriceModel.PER_UNIT: frozenset({"unit_price"}),
    PriceModel.PACKAGE: frozenset({"package_size", "package_price"}),
    PriceModel.GRADUATED: frozenset({"tiers"}),
    PriceModel.VOLUME: frozenset({"tiers"}),
}


class PriceError(ValueError):
    """A price that makes no sense; `field` is a dotted path (`tiers.1.up_to`), `code` is stable."""

    def __init__(self, field: str, code: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Tier:
    """A step of a graduated or volume price: up to and including `up_to` units (None: without end)."""

    up_to: Decimal | None
    unit_price: Decimal = ZERO
    flat_fee: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTerms:
    """What units cost. Amounts are in the currency's major unit, not negative, with at most 12 decimals.

    `included_units` are free in each period; `minimum` and `maximum` bound what a whole period costs.
    """

    model: PriceModel
    currency: str
    unit_price: Decimal | None = None
    package_size: Decimal | None = None
    package_price: Decimal | None = None
    tiers: tuple[Tier, ...] = ()
    included_units: Decimal = ZERO
    minimum: Decimal | None = None
    maximum: Decimal | None = None

    def __post_init__(self) -> None:
        """Raise `PriceError` for the first thing that is wrong."""
        try:
            normalize_currency(self.currency)
        except CurrencyError as error:
            raise PriceError("currency", error.code, str(error)) from error
        for field in ("unit_price", "package_size", "package_price", "tiers"):
            given = getattr(self, field) not in (None, ())
            wanted = field in _OWN_FIELDS[self.model]
            if wanted and not given:
                raise PriceError(field, "required", f"A {self.model} price needs it.")
            if given and not wanted:
                raise PriceError(field, "not_allowed", f"A {self.model} price has none.")
        for field in ("unit_price", "package_size", "package_price", "included_units", "minimum", "maximum"):
            _check_number(field, getattr(self, field))
        if self.package_size is not None and self.package_size <= 0:
            raise PriceError("package_size", "not_positive", "A package has more than 0 units.")
        if self.minimum is not None and self.maximum is not None and self.maximum < self.minimum:
            raise PriceError("maximum", "below_minimum", "The maximum is less than the minimum.")
        _check_tiers(self.tiers)

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> "PriceTerms":
        """Terms from decoded JSON, numbers as text or numbers. Fields that are no terms of a price are left alone.

        Raises `PriceError` with `required`, `not_allowed`, `model_unknown`, `currency_invalid`, `number_invalid`,
        `negative`, `not_positive`, `out_of_range`, `too_precise`, `tiers_invalid`, `tiers_too_many`,
        `tiers_not_increasing`, `last_tier_not_open`, `open_tier_not_last` or `below_minimum`.
        """
        try:
            model = PriceModel(data.get("model", ""))
        except ValueError as error:
            detail = f"One of {', '.join(PriceModel)}."
            raise PriceError("model", "model_unknown", detail) from error
        currency = data.get("currency")
        if not isinstance(currency, str):
            raise PriceError("currency", "required", "A price is in a currency.")
        return cls(
            model=model,
            currency=currency.upper(),
            unit_price=_number("unit_price", data.get("unit_price")),
            package_size=_number("package_size", data.get("package_size")),
            package_price=_number("package_price", data.get("package_price")),
            tiers=_tiers(data.get("tiers")),
            included_units=_number("included_units", data.get("included_units")) or ZERO,
            minimum=_number("minimum", data.get("minimum")),
            maximum=_number("maximum", data.get("maximum")),
        )


def _check_tiers(tiers: Sequence[Tier]) -> None:
    if len(tiers) > MAX_TIERS:
        raise PriceError("tiers", "tiers_too_many", f"At most {MAX_TIERS} tiers.")
    below = ZERO
    for position, tier in enumerate(tiers):
        for field in ("up_to", "unit_price", "flat_fee"):
            _check_number(f"tiers.{position}.{field}", getattr(tier, field))
        if position == len(tiers) - 1:
            if tier.up_to is not None:
                detail = "The last tier has no end: its up_to is null."
                raise PriceError(f"tiers.{position}.up_to", "last_tier_not_open", detail)
        elif tier.up_to is None:
            raise PriceError(f"tiers.{position}.up_to", "open_tier_not_last", "Only the last tier has no end.")
        elif tier.up_to <= below:
            detail = "Each tier ends above the one before it, the first above 0."
            raise PriceError(f"tiers.{position}.up_to", "tiers_not_increasing", detail)
        else:
            below = tier.up_to


def _tiers(value: Any) -> tuple[Tier, ...]:
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise PriceError("tiers", "tiers_invalid", "A list of tiers.")
    if len(value) > MAX_TIERS:
        raise PriceError("tiers", "tiers_too_many", f"At most {MAX_TIERS} tiers.")
    return tuple(_tier(f"tiers.{position}", each) for position, each in enumerate(value))


def _tier(path: str, value: Any) -> Tier:
    if not isinstance(value, Mapping):
        raise PriceError(path, "tiers_invalid", "A tier has up_to, unit_price and flat_fee.")
    if unknown := set(value) - {"up_to", "unit_price", "flat_fee"}:
        raise PriceError(f"{path}.{min(map(str, unknown))}", "not_allowed", "A tier has no such field.")
    if value.get("unit_price") is None and value.get("flat_fee") is None:
        raise PriceError(f"{path}.unit_price", "required", "A tier has a unit_price, a flat_fee or both.")
    return Tier(
        up_to=_number(f"{path}.up_to", value.get("up_to")),
        unit_price=_number(f"{path}.unit_price", value.get("unit_price")) or ZERO,
        flat_fee=_number(f"{path}.flat_fee", value.get("flat_fee")) or ZERO,
    )


def _number(field: str, value: Any) -> Decimal | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise PriceError(field, "number_invalid", "A number, best as text.")
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise PriceError(field, "number_invalid", "A number, best as text.")
    # repr() of a float is the shortest text that reads back the same: what the sender wrote.
    return Decimal(repr(value) if isinstance(value, float) else value)


def _check_number(field: str, value: Decimal | None) -> None:
    if value is None:
        return
    if not value.is_finite():
        raise PriceError(field, "number_invalid", "The number must be finite.")
    if value < 0:
        raise PriceError(field, "negative", "The number must not be negative.")
    if value > MAX_NUMBER:
        raise PriceError(field, "out_of_range", f"The number must not be above {MAX_NUMBER}.")
    if _decimals(value) > MAX_DECIMALS:
        raise PriceError(field, "too_precise", f"At most {MAX_DECIMALS} decimals.")


def _decimals(value: Decimal) -> int:
    """Decimals that matter: 1.50 has one. Read off the digits, since rounding contexts could hide some."""
    _, digits, exponent = value.as_tuple()
    significant = "".join(map(str, digits)).rstrip("0")
    return max(0, -int(exponent) - (len(digits) - len(significant))) if significant else 0
