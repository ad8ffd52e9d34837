"""How numbers, money and times are written for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from dashboard import shown
from dashboard.views.overview import sparkline

NOW = datetime(2026, 11, 23, 14, 5, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0"),
        ("1204332", "1,204,332"),
        ("0.250000000000", "0.25"),
        ("-12.5", "−12.5"),
        ("0.0000001", "0"),
        ("1E+3", "1,000"),
        ("99999999999999999999999999", "99,999,999,999,999,999,999,999,999"),
    ],
)
def test_quantity__any__is_in_full_with_thousands_apart(value: str, text: str) -> None:
    assert shown.quantity(Decimal(value)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0"),
        ("12400", "12,400"),
        ("1204332", "1.2 M"),
        ("12043320", "12 M"),
        ("1999999999", "2 G"),
        ("5000000000000", "5 T"),
        ("0.256", "0.26"),
        ("-2500000", "−2.5 M"),
    ],
)
def test_compact__any__is_read_at_a_glance(value: str, text: str) -> None:
    assert shown.compact(Decimal(value)) == text


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("1204.5", "USD", "$1,204.50"),
        ("-3", "EUR", "−€3.00"),
        ("12.345", "CHF", "CHF 12.35"),
        ("1200", "JPY", "¥1,200"),
        ("-0.001", "USD", "$0.00"),
        ("1.2345", "BHD", "BHD 1.235"),
    ],
)
def test_money__any__has_its_currency_and_minor_units(amount: str, currency: str, text: str) -> None:
    assert shown.money(Decimal(amount), currency) == text


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [
        ("112", "100", "+12 %, more than yesterday"),
        ("88", "100", "−12 %, less than yesterday"),
        ("100", "100", "As much as yesterday"),
        ("1000", "100", "+900 %, more than yesterday"),
        ("5000", "100", "Much more than yesterday"),
        ("9556242", "1", ""),
    ],
)
def test_change__against_something__is_said_in_words_and_sign(now: str, before: str, text: str) -> None:
    assert shown.change(Decimal(now), Decimal(before), than="yesterday") == text


def test_change__against_nothing__says_so() -> None:
    assert shown.change(Decimal(5), Decimal(0), than="yesterday") == "None yesterday"
    assert shown.change(Decimal(0), Decimal(0), than="yesterday") == "None, as yesterday"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"),
        (50, "1 minute ago"),
        (240, "4 minutes ago"),
        (7200, "2 hours ago"),
        (86400 * 3, "3 days ago"),
        (86400 * 70, "2 months ago"),
        (86400 * 800, "2 years ago"),
        (-90, "in 1 minute"),
        (-10, "in a moment"),
        (-86400 * 3, "in 3 days"),
    ],
)
def test_relative__before_or_after__is_in_the_largest_unit(seconds: int, text: str) -> None:
    assert shown.relative(NOW - timedelta(seconds=seconds), NOW) == text


def test_exact__in_a_timezone__names_it() -> None:
    assert shown.exact(NOW, ZoneInfo("Europe/Berlin")) == "23 November 2026 15:05:09 CET"
    assert shown.day(NOW, ZoneInfo("Pacific/Kiritimati")) == "24 Nov 2026"


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("token", "2", "tokens"),
        ("token", "1", "token"),
        ("USD", "2", "USD"),
        ("ms", "2", "ms"),
        ("query", "2", "queries"),
        ("day", "0", "days"),
    ],
)
def test_units__behind_a_number__take_their_plural(unit: str, value: str, text: str) -> None:
    assert shown.units(unit, Decimal(value)) == text


def test_sparkline__largest_value__touches_the_top() -> None:
    assert sparkline([Decimal(0), Decimal(5), Decimal(10)]) == "0.0,27.0 50.0,14.0 100.0,1.0"
    assert sparkline([Decimal(0), Decimal(0)]) == "0.0,27.0 100.0,27.0"


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (999, "999"), (12437, "about 12,400"), (1004, "about 1,000")])
def test_about__from_a_thousand_on__is_rounded_down(count: int, text: str) -> None:
    assert shown.about(count) == text
