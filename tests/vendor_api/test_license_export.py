"""Licences as CSV over REST: what the list's filters leave, as a stream."""

from __future__ import annotations

import csv
import io

from tests.vendor_api.door import Door
from tests.vendor_api.shop import Shop


def _rows(door: Door, **query: str) -> list[dict[str, str]]:
    answer = door.get("/licenses/export", **query)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="licenses.csv"'
    return list(csv.DictReader(io.StringIO(answer.json, newline="")))


def test_export__licences_of_the_workspace__oldest_first_with_their_customers(shop: Shop) -> None:
    second = shop.door.made(
        "/licenses",
        {"customer": {"external_id": "=2+2", "name": "Globex"}, "plan": "pro", "metadata": {"reference": "crm-7"}},
    )["license"]
    Shop(Door())

    first, last = _rows(shop.door)

    assert (first["id"], first["reference"]) == (shop.license["id"], shop.license["id"])
    assert (first["external_id"], first["customer_name"], first["plan"], first["status"]) == (
        "acme",
        "Acme",
        "pro",
        "active",
    )
    assert first["expires_at"] == shop.license["expires_at"]
    assert (last["id"], last["reference"], last["external_id"]) == (second["id"], "crm-7", "'=2+2")


def test_export__filters_of_the_list__hold_here_too(shop: Shop) -> None:
    shop.door.made("/licenses", {"customer": "acme", "plan": "pro", "starts_at": "2040-01-01T00:00:00Z"})

    assert [row["status"] for row in _rows(shop.door, status="not_started")] == ["not_started"]
    assert _rows(shop.door, external_id="nobody") == []
    assert shop.door.get("/licenses/export", limit="3").status == 422
    assert shop.door.get("/licenses/export", colour="red").code == "unknown_parameter"
