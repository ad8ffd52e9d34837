"""The streaming import beside a bare COPY of the same rows into the same tables, in batches of 1,000; its memory."""

import resource
import secrets
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks import pace
from benchmarks.cases.ingest import copy_rows
from benchmarks.report import Rounds, line
from benchmarks.stack import BenchStack
from benchmarks.world import METER, Shop, make_shop
from licensing_site.memory import spare_the_collector

EVENTS = pace.pick(480_000, 60_000)
#: A round of both; they alternate, so that a noisy neighbour hits both.
PART = pace.pick(60_000, 20_000)
AGENTS = 20
_MEGABYTE = 1024


def run(stack: BenchStack, events: int = EVENTS) -> Iterator[dict[str, Any]]:
    """Events of 20 agents over three levels, parts of each side by side."""
    stack.django()
    spare_the_collector()
    shop = make_shop(agents=AGENTS, levels=("agent", "license", "customer"))
    _import(shop, 2000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    imported, copied = Rounds(), Rounds()
    part = min(PART, events)
    for _ in range(events // part):
        imported.append(part / _import(shop, part))
        copied.append(part / copy_rows(shop, part))
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield line(
        "import_vs_copy", imported, "events/s", "COPY of the same rows into the same tables", copied, events=events
    )
    yield line("import_memory", used / _MEGABYTE, "MB at most, this process and the COPY's rows", "at the start",
               before / _MEGABYTE)  # fmt: skip


def _import(shop: Shop, events: int) -> float:
    """Seconds for a stream of so many lines, made beforehand a megabyte at a time."""
    from metering.services.import_formats import ImportFormat
    from metering.services.import_runs import ImportProgress, run_import
    from metering.services.importing import RefusedLine
    from tenants.models import Tenant

    def remember(_progress: ImportProgress, _refused: Sequence[RefusedLine]) -> None:
        return None

    pieces = list(_pieces(shop, events))
    begun = time.perf_counter()
    done = run_import(
        tenant=Tenant.objects.get(id=shop.tenant_id),
        pieces=pieces,
        format_=ImportFormat.NDJSON,
        backfill=False,
        remember=remember,
    )
    seconds = time.perf_counter() - begun
    if done.recorded != events:
        raise RuntimeError(f"not recorded: {done}")
    return seconds


def _pieces(shop: Shop, events: int) -> Iterator[bytes]:
    from common.ids import Prefix, encode_id

    agents = [encode_id(Prefix.AGENT, agent_id) for agent_id in shop.agents]
    start = datetime.now(UTC) - timedelta(hours=1)
    tag = secrets.token_hex(6)
    lines: list[str] = []
    for place in range(events):
        at = (start + timedelta(milliseconds=place)).isoformat()
        lines.append(
            f'{{"id": "{tag}-{place}", "meter": "{METER}", "quantity": "{place % 5000}", "occurred_at": "{at}", '
            f'"dimensions": {{"model": "large"}}, "agent": "{agents[place % AGENTS]}"}}\n'
        )
        if len(lines) == 5000:
            yield "".join(lines).encode()
            lines = []
    yield "".join(lines).encode()
