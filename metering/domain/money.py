"""Money: currencies' minor units (ISO 4217) and the one rounding of an amount."""

import re
from decimal import Decimal

from metering.domain.numbers import ROUNDING

_DEFAULT_MINOR_UNITS = 2
_OTHER_MINOR_UNITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_MINOR_UNITS = {code: units for units, codes in _OTHER_MINOR_UNITS.items() for code in codes.split()}
_CODE = re.compile(r"[A-Z]{3}", re.ASCII)


class CurrencyError(ValueError):
    """A text that is not the shape of an ISO 4217 code."""

    code = "currency_invalid"


def normalize_currency(text: str) -> str:
    """The currency's code in capitals. Raises `CurrencyError` unless it is three ASCII letters."""
    code = text.upper()
    if not _CODE.fullmatch(code):
        raise CurrencyError("A currency is three letters, as in ISO 4217.")
    return code


def minor_units(currency: str) -> int:
    """How many decimals the currency's amounts have: 2 unless ISO 4217 says otherwise (JPY 0, BHD 3, CLF 4)."""
    return _MINOR_UNITS.get(normalize_currency(currency), _DEFAULT_MINOR_UNITS)


def round_money(amount: Decimal, currency: str) -> Decimal:
    """`amount` at the currency's minor unit, half away from zero; never a negative zero."""
    rounded = amount.quantize(Decimal(1).scaleb(-minor_units(currency)), context=ROUNDING)
    return rounded or abs(rounded)
