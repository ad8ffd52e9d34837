"""Imports: every sound line once, every other one told, and exact counts wherever a worker is killed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from common.clock import real_clock
from common.ids import Prefix, encode_id
from metering.models import Balance, EventId, UsageEvent
from metering.services.import_formats import ImportFormat
from metering.services.import_runs import ImportProgress, run_import
from metering.services.import_streams import MAX_LINE, ImportBroken
from metering.services.importing import RefusedLine
from tests.metering.ledger_world import World, make_world

pytestmark = pytest.mark.django_db(transaction=True)


class Memory:
    """What a job would keep."""

    def __init__(self) -> None:
        self.progress = ImportProgress()
        self._refused: dict[int, RefusedLine] = {}

    @property
    def refused(self) -> list[RefusedLine]:
        return list(self._refused.values())

    def __call__(self, progress: ImportProgress, refused: Sequence[RefusedLine]) -> None:
        self.progress = progress
        self._refused |= {line.number: line for line in refused}


def agent_of(world: World, place: int = 0) -> str:
    return encode_id(Prefix.AGENT, world.agents[place].id)


def event(world: World, id: str, quantity: Any = "2", **more: Any) -> bytes:
    fields = {"id": id, "meter": "tokens", "quantity": quantity, "agent": agent_of(world), **more}
    return json.dumps(fields).encode() + b"\n"


def do(world: World, pieces: Iterable[bytes], format_: ImportFormat = ImportFormat.NDJSON, **options: Any) -> Memory:
    memory = options.pop("remember", None) or Memory()
    options.setdefault("backfill", False)
    run_import(tenant=world.tenant, pieces=pieces, format_=format_, remember=memory, **options)
    return memory


def total(world: World) -> Decimal:
    return sum((each.quantity for each in UsageEvent.objects.filter(tenant=world.tenant)), Decimal(0))


def told(memory: Memory) -> list[tuple[int, str, str]]:
    return [(line.number, line.code, line.field) for line in memory.refused]


def test_import__sound_lines_of_two_agents__each_counts_on_its_balances() -> None:
    world = make_world(2, around=real_clock().now())
    quota = world.quota("1000")
    lines = [event(world, f"e{n}", n + 1, agent=agent_of(world, n % 2)) for n in range(10)]

    memory = do(world, lines, portion=3)

    assert memory.progress == ImportProgress(10, len(b"".join(lines)), recorded=10)
    assert world.used(quota) == total(world) == Decimal(55)
    assert EventId.objects.filter(tenant=world.tenant).count() == 10


def test_import__done_again__duplicates_and_nothing_counted() -> None:
    world = make_world(around=real_clock().now())
    quota = world.quota("1000")
    lines = [event(world, f"e{n}") for n in range(7)]
    do(world, lines, portion=3)

    memory = do(world, [*lines, event(world, "e0", "3")], portion=5)

    assert memory.progress.counts == {"recorded": 0, "duplicates": 7, "conflicts": 1, "rejected": 0}
    assert [(line.status, line.code, line.id) for line in memory.refused] == [("conflict", "id_conflict", "e0")]
    assert world.used(quota) == Decimal(14)


def test_import__same_id_twice_in_a_portion__first_in_the_file_counts() -> None:
    world = make_world(2, around=real_clock().now())

    memory = do(world, [event(world, "x", "1", agent=agent_of(world, 1)), event(world, "x", "1")])

    assert memory.progress.counts == {"recorded": 1, "duplicates": 1, "conflicts": 0, "rejected": 0}
    assert UsageEvent.objects.get(tenant=world.tenant).agent_id == world.agents[1].id


def test_import__faults_of_every_kind__told_by_line_and_neighbours_counted() -> None:
    world = make_world(around=real_clock().now())
    now = real_clock().now()
    lines = [
        b"\xef\xbb\xbf" + event(world, "a").replace(b"\n", b"\r\n"),
        b"{broken\n",
        b"\n",
        event(world, "b", meter="nothing"),
        event(world, "c", "-1"),
        event(world, "d", "1", agent="agt_01h455vb4pex5vsknk084sn02q"),
        event(world, "e", "1", license="lic_01h455vb4pex5vsknk084sn02q"),
        event(world, "f", "1", occurred_at=(now - timedelta(days=36)).isoformat()),
        event(world, "g", "1", occurred_at=(now + timedelta(days=1)).isoformat()),
        event(world, "h", "1", dimensions={"nope": "x"}),
        event(world, "i", "1", surplus=1),
        event(world, "j", "x"),
        b'{"id": "k", "id": "l", "meter": "tokens", "quantity": "1", "agent": "%s"}\n' % agent_of(world).encode(),
        b'{"id": "' + b"m" * MAX_LINE + b'"}\n',
        b'{"id": "\xff"}\n',
        event(world, "z").removesuffix(b"\n"),
    ]

    memory = do(world, lines)

    assert told(memory) == [
        (2, "malformed_json", ""),
        (4, "unknown_meter", "meter"),
        (5, "quantity_negative", "quantity"),
        (6, "unknown_agent", "agent"),
        (7, "event_invalid", "agent"),
        (8, "event_too_old", "occurred_at"),
        (9, "event_in_future", "occurred_at"),
        (10, "dimension_unknown", "dimensions.nope"),
        (11, "unknown_field", "surplus"),
        (12, "quantity_invalid", "quantity"),
        (13, "malformed_json", ""),
        (14, "line_too_long", ""),
        (15, "malformed_json", ""),
    ]
    assert memory.refused[0].detail == "The line is not JSON: column 2."
    assert memory.refused[-1].detail == "The line is not UTF-8."
    assert memory.progress.counts == {"recorded": 2, "duplicates": 0, "conflicts": 0, "rejected": 13}
    assert set(UsageEvent.objects.filter(tenant=world.tenant).values_list("client_id", flat=True)) == {"a", "z"}


def test_import__csv__quoted_records_dimensions_and_faults() -> None:
    world = make_world(around=real_clock().now())
    agent = agent_of(world)
    text = (
        "id,meter,quantity,occurred_at,agent,dimensions.model\r\n"
        f"a,tokens,1.5,,{agent},large\r\n"
        f'"b ""x""",tokens," 2 ",{real_clock().now().isoformat()},{agent},\r\n'
        f"c,tokens,1,yesterday,{agent},\r\n"
        f"d,tokens,1,{agent}\r\n"
        f'e,tokens,1,,{agent},"large\r\n'
        f"f,tokens,4,,{agent},small\r\n"
        "\r\n"
        f",tokens,4,,{agent},small"
    )

    memory = do(world, [text.encode()[n : n + 7] for n in range(0, len(text), 7)], ImportFormat.CSV, portion=2)

    assert told(memory) == [
        (4, "invalid", "occurred_at"),
        (5, "columns_wrong", ""),
        (6, "csv_invalid", ""),
        (9, "required", "id"),
    ]
    found = UsageEvent.objects.filter(tenant=world.tenant).order_by("quantity")
    assert [(each.client_id, each.quantity, each.dimensions) for each in found] == [
        ("a", Decimal("1.5"), {"model": "large"}),
        ('b "x"', Decimal(2), {}),
        ("f", Decimal(4), {"model": "small"}),
    ]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("id,meter,agent,colour", "colour"),
        ("id,agent,quantity", "meter"),
        ("id,meter,quantity", "agent or license"),
        ("id,meter,agent,id", "twice"),
    ],
)
def test_import__csv_with_wrong_columns__is_refused_as_a_whole(header: str, words: str) -> None:
    world = make_world(around=real_clock().now())

    with pytest.raises(ImportBroken, match=words) as refused:
        do(world, [f"{header}\n1,2,3,4\n".encode()], ImportFormat.CSV)

    assert refused.value.code == "columns_invalid"
    assert not UsageEvent.objects.filter(tenant=world.tenant).exists()


def test_import__gzip_of_several_members__all_are_read() -> None:
    world = make_world(around=real_clock().now())
    packed = gzip.compress(event(world, "a")) + gzip.compress(event(world, "b")) + bytes(512)

    memory = do(world, [packed[n : n + 11] for n in range(0, len(packed), 11)])

    assert memory.progress.counts == {"recorded": 2, "duplicates": 0, "conflicts": 0, "rejected": 0}


@pytest.mark.parametrize("code", ["compression_invalid", "compression_ratio", "encoding_unsupported"])
def test_import__stream_that_cannot_be_read_on__keeps_what_was_committed(code: str) -> None:
    world = make_world(around=real_clock().now())
    sound = b"".join([event(world, f"e{n}", occurred_at=None) for n in range(50)])
    pieces = {
        "compression_invalid": [gzip.compress(sound)[:-9]],
        "compression_ratio": [gzip.compress(sound + b" " * (64 * 1024 * 1024))],
        "encoding_unsupported": [sound.decode().encode("utf-16")],
    }[code]

    memory = Memory()
    with pytest.raises(ImportBroken) as broken:
        do(world, pieces, portion=10, remember=memory)

    assert broken.value.code == code
    assert UsageEvent.objects.filter(tenant=world.tenant).count() == memory.progress.recorded
    assert memory.progress.recorded >= (0 if code == "encoding_unsupported" else 40)


def test_import__old_events__only_with_backfill_and_as_far_as_retention() -> None:
    now = real_clock().now()
    world = make_world(around=now)

    kept = settings.PERMETER_EVENT_RETENTION.days

    def line(id: str, days: int) -> bytes:
        return event(world, id, occurred_at=(now - timedelta(days=days)).isoformat())

    lines = [line("a", 36), line("b", kept - 1), line("c", kept + 1)]

    assert told(do(world, lines)) == [(n, "event_too_old", "occurred_at") for n in (1, 2, 3)]
    assert told(do(world, lines, backfill=True)) == [(3, "event_too_old", "occurred_at")]
    assert set(UsageEvent.objects.filter(tenant=world.tenant).values_list("client_id", flat=True)) == {"a", "b"}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("dies_at", [1, 2, 3, 4])
@pytest.mark.parametrize("where", ["before the commit", "after it"])
def test_import__killed_anywhere_and_gone_on__counts_add_up_exactly(dies_at: int, where: str) -> None:
    world = make_world(around=real_clock().now())
    quota = world.quota("1000")
    lines = [event(world, f"e{n}") for n in range(20)]
    lines[7] = b"nonsense\n"
    kept = Memory()
    calls = 0

    def remember(progress: ImportProgress, refused: Sequence[RefusedLine]) -> None:
        nonlocal calls
        calls += 1
        if where == "before the commit" and calls == dies_at:
            raise Killed
        if where == "after it" and calls == dies_at + 1:
            raise Killed
        connection.on_commit(lambda: kept(progress, refused))

    with pytest.raises(Killed):
        do(world, lines, portion=4, remember=remember)
    assert kept.progress.line == 4 * (dies_at - (where == "before the commit"))

    do(world, lines, portion=4, remember=kept, begin=kept.progress)

    assert kept.progress.counts == {"recorded": 19, "duplicates": 0, "conflicts": 0, "rejected": 1}
    assert [line.number for line in kept.refused] == [8]
    assert world.used(quota) == Decimal(38)
    assert Balance.objects.filter(tenant=world.tenant).count() == 1


def test_import__quota_changes_between_portions__the_rest_counts_on_the_new_one() -> None:
    now = real_clock().now()
    world = make_world(around=now)
    lines = [event(world, f"e{n}") for n in range(6)]
    from metering.services.quotas import create_quota
    from tenants.domain.actors import worker

    memory = Memory()

    def feed() -> Iterable[bytes]:
        yield b"".join(lines[:3])
        create_quota(
            tenant=world.tenant,
            actor=worker("test"),
            on={"tenant": True},
            meter="tokens",
            limit="100",
            period="lifetime",
        )
        yield b"".join(lines[3:])

    do(world, feed(), portion=3, remember=memory)

    assert memory.progress.recorded == 6
    assert Balance.objects.get(tenant=world.tenant).used == Decimal(12)
