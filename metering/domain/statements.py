"""A statement as one document, and the same as CSV; rounded amounts add up to its totals. Pure."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from metering.domain.money import round_money
from metering.domain.numbers import EXACT, ZERO

Document = dict[str, Any]

_COLUMNS: Final = (
    "statement",
    "status",
    "customer",
    "period_start",
    "period_end",
    "line",
    "kind",
    "overage",
    "license",
    "meter",
    "used",
    "included",
    "over",
    "description",
    "quantity",
    "unit_price",
    "amount",
    "currency",
)


def totals_of(lines: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """By currency: what overage comes to, what credits give back or add, and both. Amounts are rounded already."""
    sums: dict[str, dict[str, Decimal]] = {}
    for line in lines:
        if line["amount"] is None:
            continue
        of = sums.setdefault(line["currency"], {"overage": ZERO, "credits": ZERO})
        column = "overage" if line["kind"] == "overage" else "credits"
        of[column] = EXACT.add(of[column], Decimal(line["amount"]))
    return [
        {
            "currency": currency,
            "overage": f"{round_money(of['overage'], currency):f}",
            "credits": f"{round_money(of['credits'], currency):f}",
            "total": f"{round_money(EXACT.add(of['overage'], of['credits']), currency):f}",
        }
        for currency, of in sorted(sums.items())
    ]


def as_json(document: Document) -> str:
    """One line a document: the same content is the same bytes."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"


def as_csv(document: Document) -> str:
    """A row for each step of each line's working, and one for each line's rounded amount, then the totals."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    head = {
        "statement": document["number"] or "",
        "status": document["status"],
        "customer": document["customer"]["external_id"],
    }
    for number, line in enumerate(document["lines"], start=1):
        of_line = head | {
            "line": number,
            **{name: line[name] or "" for name in ("period_start", "period_end", "overage", "license", "meter")},
        }
        numbers = {"used": line["used"], "included": line["included"], "over": line["over"]}
        writer.writerow(_safe(of_line | numbers | {"kind": line["kind"], **_money(line, line["reason"])}))
        for step in line["working"]:
            writer.writerow(
                _safe(of_line | {"kind": "working", "currency": line["currency"], **{k: step[k] for k in _STEP}})
            )
    for total in document["totals"]:
        for kind in ("overage", "credits", "total"):
            row = {"kind": f"total {kind}" if kind != "total" else "total", "amount": total[kind]}
            writer.writerow(_safe(head | row | {"currency": total["currency"]}))
    return out.getvalue()


_STEP: Final[Sequence[str]] = ("description", "quantity", "unit_price", "amount")


def _money(line: Mapping[str, Any], description: str) -> dict[str, str]:
    return {"description": description, "amount": line["amount"] or "", "currency": line["currency"]}


def _safe(row: Mapping[str, Any]) -> dict[str, str]:
    """Cells that a spreadsheet would run as a formula begin with an apostrophe; numbers below 0 are numbers."""
    return {name: _cell(str(value)) for name, value in row.items()}


def _cell(text: str) -> str:
    if not text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return text
    try:
        Decimal(text)
    except ArithmeticError:
        return f"'{text}"
    return text
