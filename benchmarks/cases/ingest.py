"""Batches of usage through the use case beside a bare COPY of the same rows into the same tables."""

import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from benchmarks import pace
from benchmarks.report import interleaved, line
from benchmarks.stack import BenchStack
from benchmarks.world import METER, THREE_LEVELS, Shop, make_shop
from licensing_site.memory import spare_the_collector

BATCH = 1000
BATCHES = pace.pick(15, 5)
SMALL_BATCH = 32
SMALL_BATCHES = pace.pick(150, 50)
_COPY = "COPY of the same rows into the same tables"


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """`usage` in batches of 1,000 over three levels; over four, with a price, and in batches of 32 as well."""
    stack.django()
    # As the processes do that call this use case.
    spare_the_collector()
    shop = make_shop(levels=THREE_LEVELS)
    recorded, copied = interleaved(lambda: record(shop), lambda: _copy(shop), rounds=pace.ROUNDS)
    yield line("ingest_batch_vs_copy", recorded, "events/s", _COPY, copied)
    priced = make_shop(levels=(*THREE_LEVELS, "tenant"), mode="soft", priced=True)
    recorded, copied, in_small = interleaved(
        lambda: record(priced), lambda: _copy(priced), lambda: record(priced, SMALL_BATCH, SMALL_BATCHES)
    )
    yield line("ingest_priced_batch_of_four_levels_vs_copy", recorded, "events/s", _COPY, copied)
    yield line("ingest_priced_batch_of_32_vs_copy", in_small, "events/s", f"{_COPY}, {BATCH:,} at a time", copied)


def record(shop: Shop, size: int = BATCH, number: int = BATCHES) -> float:
    """Events a second through the use case, `number` batches of `size`."""
    batches = [events_now(size) for _ in range(number)]
    return size * number / timed(lambda: [send(shop, batch) for batch in batches])


def events_now(number: int) -> list[dict[str, Any]]:
    """So many events of this moment, as they come in a body."""
    at = datetime.now(UTC).isoformat()
    tag = secrets.token_hex(6)
    return [
        {"id": f"{tag}-{place}", "meter": METER, "quantity": "3", "occurred_at": at, "dimensions": {"model": "large"}}
        for place in range(number)
    ]


def timed(work: Callable[[], object]) -> float:
    """Seconds that it took."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def send(shop: Shop, events: list[dict[str, Any]]) -> None:
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
        for event in events_now(BATCH):
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

    return timed(copy)
