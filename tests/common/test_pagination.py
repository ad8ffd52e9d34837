from datetime import UTC, datetime, timedelta
from typing import ClassVar
from uuid import UUID

import pytest
from django.db import connection, models
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Invalid
from common.pagination import decode_cursor, encode_cursor, paginate, parse_limit

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Row(models.Model):
    id = models.UUIDField(primary_key=True)
    created_at = models.DateTimeField()

    objects: ClassVar[models.Manager["Row"]] = models.Manager()

    class Meta:
        app_label = "tests"
        managed = False
        db_table = "tests_pagination_row"

    def __str__(self) -> str:
        return str(self.id)


@pytest.fixture
def rows(db: None) -> list[UUID]:
    """Seven rows, newest first; the three in the middle share one instant."""
    with connection.cursor() as cursor:
        cursor.execute("create table tests_pagination_row (id uuid primary key, created_at timestamptz not null)")
    seconds = {7: 4, 6: 3, 5: 2, 4: 2, 3: 2, 2: 1, 1: 0}
    Row.objects.bulk_create(
        Row(id=UUID(int=number), created_at=NOON + timedelta(seconds=second)) for number, second in seconds.items()
    )
    return [UUID(int=number) for number in seconds]


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_cursor__any_place__round_trips(at: datetime, row_id: UUID) -> None:
    cursor = encode_cursor(at, row_id)
    assert len(cursor) == 40
    assert decode_cursor(cursor) == (at, row_id)


@pytest.mark.parametrize("bound_to", ["", "licenses?status=active", "licenses"])
def test_decode_cursor__of_another_list__is_refused(bound_to: str) -> None:
    cursor = encode_cursor(NOON, UUID(int=1), bound_to="licenses?status=revoked")
    assert decode_cursor(cursor, bound_to="licenses?status=revoked") == (NOON, UUID(int=1))
    with pytest.raises(Invalid) as refusal:
        decode_cursor(cursor, bound_to=bound_to)
    assert [(error["field"], error["code"]) for error in refusal.value.errors] == [("cursor", "other_list")]


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "nonsense",
        "é" * 40,
        "A" * 32,
        "A" * 39,
        "A" * 44,
        "A" * 39 + "\n",
        "A" * 16 + "!" * 4 + "A" * 24,
    ],
)
def test_decode_cursor__foreign_text__is_invalid(cursor: str) -> None:
    with pytest.raises(Invalid) as refusal:
        decode_cursor(cursor)
    assert [(error["field"], error["code"]) for error in refusal.value.errors] == [("cursor", "invalid")]


def test_decode_cursor__time_out_of_range__is_invalid() -> None:
    with pytest.raises(Invalid):
        decode_cursor("f" + "_" * 10 + "A" * 29)


@pytest.mark.parametrize(("raw", "limit"), [(None, 50), ("", 50), ("1", 1), ("200", 200), ("007", 7)])
def test_parse_limit__sound__is_the_number(raw: str | None, limit: int) -> None:
    assert parse_limit(raw) == limit


@pytest.mark.parametrize("raw", ["0", "201", "-1", "1.5", "ten", "٣", "²", " 5", "9999999"])
def test_parse_limit__unsound__is_invalid(raw: str) -> None:
    with pytest.raises(Invalid) as refusal:
        parse_limit(raw)
    assert refusal.value.errors[0]["field"] == "limit"


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 6, 7, 8])
def test_paginate__any_limit__gives_each_row_once_newest_first(rows: list[UUID], limit: int) -> None:
    found: list[UUID] = []
    cursor: str | None = None
    for _ in range(8):
        page = paginate(Row.objects.all(), limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        found += [row.id for row in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == rows


def test_paginate__rows_come_in_meanwhile__nothing_is_repeated_or_skipped(rows: list[UUID]) -> None:
    first = paginate(Row.objects.all(), limit=4, cursor=None)
    Row.objects.create(id=UUID(int=99), created_at=NOON + timedelta(days=1))
    second = paginate(Row.objects.all(), limit=4, cursor=first.next_cursor)
    assert [row.id.int for row in first.items + second.items] == [7, 6, 5, 4, 3, 2, 1]
    assert second.next_cursor is None
