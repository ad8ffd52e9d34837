"""The ledger called straight: batches beside COPY and beside single calls; the roll-up beside a bare GROUP BY."""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from benchmarks.report import interleaved, line
from benchmarks.stack import BenchStack
from benchmarks.world import METER, THREE_LEVELS, Shop, make_shop
from licensing_site.memory import spare_the_collector

BATCH = 1000
BATCHES = 15
SMALL_BATCH = 32
SMALL_BATCHES = 150
COMMANDS = 64


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """`usage` in batches of 1,000 over three levels; 64 commands of 64 agents at once; rolling up."""
    stack.django()
    # As the processes do that call these use cases.
    spare_the_collector()
    yield from _ingest()
    _analyze()
    yield from _batch_first()
    yield from _rollup()


def _analyze() -> None:
    """Give the planner its statistics, as autovacuum does within a minute."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _ingest() -> Iterator[dict[str, Any]]:
    shop = make_shop(levels=THREE_LEVELS)
    recorded, copied = interleaved(lambda: _record(shop), lambda: _copy(shop))
    yield line("ingest_batch_vs_copy", recorded, "events/s", "COPY of the same rows into the same tables", copied)
    priced = make_shop(levels=(*THREE_LEVELS, "tenant"), mode="soft", priced=True)
    recorded, copied, in_small = interleaved(
        lambda: _record(priced), lambda: _copy(priced), lambda: _record(priced, SMALL_BATCH, SMALL_BATCHES)
    )
    copy = "COPY of the same rows into the same tables"
    yield line("ingest_priced_batch_of_four_levels_vs_copy", recorded, "events/s", copy, copied)
    yield line("ingest_priced_batch_of_32_vs_copy", in_small, "events/s", f"{copy}, {BATCH} at a time", copied)


def _batch_first() -> Iterator[dict[str, Any]]:
    shop = make_shop(agents=COMMANDS, levels=THREE_LEVELS)
    at_once, singly = interleaved(lambda: _authorize(shop, COMMANDS), lambda: _authorize(shop, 1))
    yield line(
        "authorize_batch_of_64_vs_singles", at_once, "events/s", "the same use case called with one command", singly
    )


def _rollup() -> Iterator[dict[str, Any]]:
    from django.db import connection

    from metering.services.rollups import roll_up_usage

    roll_up_usage()
    shop = make_shop()
    figures: dict[str, list[float]] = {"roll_up": [], "group_by": []}
    for _ in range(3):
        for _ in range(10):
            _send(shop, _events(BATCH))
        since = datetime.now(UTC)
        figures["roll_up"].append(_timed(roll_up_usage))
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS bench_rollup")
            begun = time.perf_counter()
            cursor.execute(
                "CREATE TEMP TABLE bench_rollup AS SELECT date_bin('15 minutes', occurred_at, '2000-01-01'), meter_id,"
                " customer_id, license_id, agent_id, dimensions, sum(quantity), count(*) FROM metering_usageevent"
                " WHERE tenant_id = %s AND recorded_at <= %s GROUP BY 1, 2, 3, 4, 5, 6",
                [shop.tenant_id, since],
            )
            figures["group_by"].append(time.perf_counter() - begun)
    yield line(
        "rollup_vs_group_by",
        sorted(figures["roll_up"])[1],
        "s for 10,000 new events",
        "a bare INSERT ... SELECT ... GROUP BY of the same rows",
        sorted(figures["group_by"])[1],
    )


def _record(shop: Shop, size: int = BATCH, number: int = BATCHES) -> float:
    batches = [_events(size) for _ in range(number)]
    return size * number / _timed(lambda: [_send(shop, batch) for batch in batches])


def _events(number: int) -> list[dict[str, Any]]:
    at = datetime.now(UTC).isoformat()
    tag = secrets.token_hex(6)
    return [
        {"id": f"{tag}-{place}", "meter": METER, "quantity": "3", "occurred_at": at, "dimensions": {"model": "large"}}
        for place in range(number)
    ]


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _send(shop: Shop, events: list[dict[str, Any]]) -> None:
    """A batch through the use case, decoding included: everything but HTTP."""
    import msgspec

    from agent_api.use_cases.known_callers import Credentials
    from agent_api.use_cases.recording import RecordCommand, record_many
    from agent_api.wire.usage import read_usage
    from common.errors import Problem

    raw = msgspec.json.encode({"events": events})
    [answer] = record_many([RecordCommand(Credentials(shop.keys[0]), read_usage(raw))])
    if isinstance(answer, Problem) or answer.body.recorded != len(events):
        raise RuntimeError(f"not recorded: {answer}")


def _copy(shop: Shop) -> float:
    """Events a second of the floor."""
    return BATCH * BATCHES / copy_rows(shop, BATCH * BATCHES)


def copy_rows(shop: Shop, rows: int) -> float:
    """The floor: seconds for as many rows by COPY, in batches of 1,000, into events and ids."""
    from django.db import connection, transaction

    from common.ids import new_id
    from licenses.selectors.access import load_agent
    from metering.domain.quota_keys import event_digest
    from metering.selectors.terms import load_caller

    access = load_agent(shop.tenant_id, shop.agents[0])
    if access is None:
        raise LookupError("the agent has vanished")
    caller = load_caller(access)
    meter = caller.meters[METER]
    batches = []
    for _ in range(rows // BATCH):
        events, ids = [], []
        for event in _events(BATCH):
            id, digest, at = new_id(), event_digest(caller.license_id, b"", event["id"]), event["occurred_at"]
            events.append(
                f"{id}\t{caller.tenant_id}\t{caller.customer_id}\t{caller.license_id}\t{caller.agent_id}\t"
                f'{{{caller.agent_id}}}\t{meter.id}\t{event["id"]}\t3\t{{"model":"large"}}\t{at}\t{at}\tusage\n'
            )
            ids.append(f"{caller.tenant_id}\t{digest}\t{new_id()}\tusage\t{at}\tt\t{{{id}}}\n")
        batches.append(("".join(events), "".join(ids)))

    def copy() -> None:
        for events_text, ids_text in batches:
            with transaction.atomic(), connection.cursor() as cursor:
                with cursor.copy(
                    "COPY metering_usageevent (id, tenant_id, customer_id, license_id, agent_id, agent_path, meter_id,"
                    " client_id, quantity, dimensions, occurred_at, recorded_at, kind) FROM STDIN"
                ) as sink:
                    sink.write(events_text)
                with cursor.copy(
                    "COPY metering_eventid (tenant_id, digest, fingerprint, kind, occurred_at, occurred_given,"
                    " event_ids) FROM STDIN"
                ) as sink:
                    sink.write(ids_text)

    return _timed(copy)


def _authorize(shop: Shop, at_once: int) -> float:
    """Events a second through `authorize_many`, `at_once` commands of as many agents a call."""
    import msgspec

    from agent_api.use_cases.authorizing import AuthorizeCommand, authorize_many
    from agent_api.use_cases.known_callers import Credentials
    from agent_api.wire.requests import AuthorizeRequest
    from common.errors import Problem

    calls = []
    for _ in range(10):
        commands = [
            AuthorizeCommand(Credentials(key), msgspec.json.decode(_ask(), type=AuthorizeRequest)) for key in shop.keys
        ]
        calls += [commands[start : start + at_once] for start in range(0, len(commands), at_once)]

    def work() -> None:
        for commands in calls:
            for answer in authorize_many(commands):
                if isinstance(answer, Problem) or not answer.body.allowed:
                    raise RuntimeError(f"not allowed: {answer}")

    return sum(map(len, calls)) / _timed(work)


def _ask() -> bytes:
    usage = [{"meter": METER, "quantity": "1"}]
    return json.dumps({"id": secrets.token_hex(8), "usage": usage, "mode": "consume"}).encode()
