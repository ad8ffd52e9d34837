"""The pages on a licence's life and on moving in, pasted into a plain shell, show what they say."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from licensing_site.environment import BASE_DIR
from tests.docs.test_readme import checkout, demo_stack, paste

__all__ = ["checkout", "demo_stack"]

pytestmark = pytest.mark.stack


def test_page_on_renewals__pasted_line_by_line__shows_what_it_says(checkout: Path) -> None:
    shown = paste("sh", folder=checkout, name="docs/how-to/renew-transfer-change-plans.md")

    trial, bought = shown.answer(2, 2), shown.answer(2, 3)
    assert trial["expires_at"] == "2027-02-14T00:00:00Z"
    assert (bought["plan"][:8], bought["expires_at"]) == ("monthly-", "2027-02-28T00:00:00Z")
    renewed, given, again = (shown.answer(3, line) for line in (1, 2, 3))
    assert (renewed["expires_at"], given["expires_at"]) == ("2027-03-31T00:00:00Z", "2027-12-31T00:00:00Z")
    assert (again["status"], again["errors"][0]["code"]) == (422, "not_later")
    assert shown.answer(4, 1)["expiry_notices"] == [14, 3]
    moved = shown.answer(5, 1)
    assert moved["customer"] != trial["customer"]
    revoked, *refused = (shown.answer(6, line) for line in (1, 2, 3))
    assert (revoked["status"], revoked["status_reason"]) == ("revoked", "charged back")
    assert [(each["status"], each["code"], each["to"]) for each in refused] == [
        (409, "license_revoked", "active"),
        (409, "license_revoked", "revoked"),
    ]
    trail = [(entry["action"], entry["reason"]) for entry in shown.answer(6, 4)["data"]]
    assert trail == [
        ("license.revoked", "charged back"),
        ("license.transferred", "sold"),
        ("license.renewed", ""),
        ("license.renewed", "order 1"),
        ("license.updated", "bought"),
        ("license.issued", ""),
    ]


def test_page_on_moving_in__pasted_line_by_line__shows_what_it_says(checkout: Path) -> None:
    for name in (".venv", "manage.py"):
        if not (checkout / name).exists():
            (checkout / name).symlink_to(BASE_DIR / name)

    shown = paste("sh", folder=checkout, name="docs/how-to/move-your-licenses-in.md")

    made = shown.answer(2, 1)
    assert made["counts"] == {"succeeded": 1, "failed": 1}
    assert [each["status"] for each in made["data"]] == [201, 422]
    dry, first, again = (shown.text(3, line).splitlines() for line in (2, 3, 4))
    assert "2 would be issued, 0 there already, 1 rejected." in dry
    assert "2 issued, 0 there already, 1 rejected." in first
    assert "The bad lines are in licenses.csv.rejects.csv." in first
    assert "0 issued, 2 there already, 1 rejected." in again
    rows = list(csv.DictReader(io.StringIO(shown.text(4, 1))))
    assert [row["customer_name"] for row in rows] == ["Acme", "Acme", "Globex"]
    assert [row["expires_at"] for row in rows[1:]] == ["2030-06-30T00:00:00Z", "never"]
    assert shown.text(4, 2) == "3"
