from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licenses.domain.license_csv import (
    COLUMNS,
    CellError,
    check_header,
    is_suspended,
    plain_cell,
    read_cells,
    safe_cell,
)

LINE = {"reference": "r1", "external_id": "acme", "plan": "pro"}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1"])
def test_safe_cell__what_a_spreadsheet_would_run__is_shown_instead(text: str) -> None:
    assert safe_cell(text) == "'" + text
    assert plain_cell(safe_cell(text)) == text


@pytest.mark.parametrize("text", ["", "Acme", "1-1", "O'Neill", "a=b"])
def test_safe_cell__plain_text__stays(text: str) -> None:
    assert safe_cell(text) == text


@given(st.text(alphabet="=+-@'\t\r\nab1", max_size=8) | st.text(max_size=20))
def test_safe_cell__any_text__comes_back_and_is_never_run(text: str) -> None:
    assert plain_cell(safe_cell(text)) == text
    assert not safe_cell(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_check_header__missing_unknown_and_doubled__each_said() -> None:
    assert check_header(COLUMNS) == []
    assert check_header(["reference", "plan", "plan", "price"]) == [
        "The column external_id is missing.",
        "The column 'price' is not known.",
        "The column plan stands there twice.",
    ]


def test_read_cells__everything_given__as_the_fields_of_a_license() -> None:
    cells = LINE | {
        "customer_name": "'=Acme",
        "customer_email": " a@example.com ",
        "add_ons": "more  most",
        "kind": "Signed",
        "status": "Trial",
        "starts_at": "2027-01-31",
        "expires_at": "2027-07-31T12:00:00+09:00",
        "metadata": '{"team": "search"}',
        "id": "lic_whatever",
    }
    assert read_cells(cells, zone=ZoneInfo("Europe/Berlin")) == {
        "customer": {"external_id": "acme", "name": "=Acme", "email": "a@example.com"},
        "plan": "pro",
        "add_ons": ["more", "most"],
        "metadata": {"team": "search", "reference": "r1"},
        "kind": "signed",
        "starts_at": datetime(2027, 1, 30, 23, tzinfo=UTC),
        "expires_at": datetime(2027, 7, 31, 3, tzinfo=UTC),
    }


def test_read_cells__never__is_perpetual_and_nothing_is_the_plans_term() -> None:
    assert read_cells(LINE | {"expires_at": "Never"}, zone=UTC)["perpetual"] is True
    assert not {"perpetual", "expires_at"} & read_cells(LINE | {"expires_at": ""}, zone=UTC).keys()


@pytest.mark.parametrize(
    ("cells", "column", "code"),
    [
        ({"reference": " "}, "reference", "required"),
        ({"plan": ""}, "plan", "required"),
        ({"external_id": ""}, "external_id", "required"),
        ({"status": "revoked"}, "status", "revoked"),
        ({"status": "paused"}, "status", "invalid_choice"),
        ({"starts_at": "31.01.2027"}, "starts_at", "invalid_time"),
        ({"expires_at": "2027-02-30"}, "expires_at", "invalid_time"),
        ({"metadata": "[1]"}, "metadata", "wrong_type"),
        ({"metadata": "{"}, "metadata", "wrong_type"),
    ],
)
def test_read_cells__cell_that_does_not_hold__named(cells: dict[str, str], column: str, code: str) -> None:
    with pytest.raises(CellError) as caught:
        read_cells(LINE | cells, zone=UTC)
    assert (caught.value.column, caught.value.code) == (column, code)


@pytest.mark.parametrize(
    ("status", "suspended"), [("suspended", True), (" Suspended", True), ("active", False), ("", False)]
)
def test_is_suspended__by_the_status(status: str, suspended: bool) -> None:
    assert is_suspended(LINE | {"status": status}) is suspended
