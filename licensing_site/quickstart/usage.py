"""A month of believable usage: busy days, quiet nights and week-ends, bursts, a runaway; the same each time."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from uuid import UUID

from common.ids import new_id
from licenses.selectors.access import load_agent
from licensing_site.quickstart.catalogue import STARTER
from licensing_site.quickstart.customers import RUNAWAY, Crew
from metering.domain.enums import EventKind
from metering.domain.quota_keys import event_digest
from metering.domain.requests import Line, Request
from metering.domain.terms import Caller
from metering.selectors.terms import load_caller
from metering.services.ledger import post
from metering.services.partitions import ensure_partitions
from metering.services.payloads import ask_fingerprint, usage_fingerprint
from tenants.models import Tenant

DAYS = 30
BATCH = 1000
TASKS_A_DAY = 29
_SEED = 20260229
#: How busy each hour of the day is (UTC), and each day of the week.
_HOURS = (1, 1, 1, 1, 1, 2, 4, 8, 14, 18, 18, 16, 13, 16, 18, 17, 14, 10, 7, 5, 4, 3, 2, 1)
_WEEKDAYS = (1.0, 1.1, 1.15, 1.1, 0.95, 0.35, 0.3)
_TOOLS = ("web_search", "fetch", "python", "sql")


@dataclass(frozen=True, slots=True)
class Happening:
    """One event to be: who, what, when."""

    id: str
    crew: int
    agent: str
    meter: str
    quantity: Decimal
    dimensions: dict[str, str]
    occurred_at: datetime


def record_month(tenant: Tenant, crews: Sequence[Crew], *, until: datetime) -> int:
    """Send the month before `until` through the ledger, oldest first; returns how many events it has.

    Doing it again counts nothing twice. Customers with a hard cap ask first, so that their usage stops at it.
    """
    ensure_partitions(until - timedelta(days=DAYS + 1), 3)
    callers = {
        (place, name): _caller(tenant.id, agent_id)
        for place, crew in enumerate(crews)
        for name, agent_id in crew.agents.items()
    }
    stream = iter(sorted(_happenings(crews, until), key=lambda each: (each.occurred_at, each.id)))
    total = 0
    while batch := list(islice(stream, BATCH)):
        post([_request(each, crews[each.crew], callers[each.crew, each.agent]) for each in batch])
        total += len(batch)
    return total


def _caller(tenant_id: UUID, agent_id: UUID) -> Caller:
    access = load_agent(tenant_id, agent_id)
    if access is None:
        raise LookupError(f"agent {agent_id} has vanished")
    return load_caller(access)


def _request(happening: Happening, crew: Crew, caller: Caller) -> Request:
    asks = crew.buyer.plan == STARTER
    meter = caller.meters[happening.meter]
    line = Line(meter, happening.quantity, happening.dimensions, happening.occurred_at, new_id())
    usage = (meter.id, happening.quantity, happening.dimensions)
    return Request(
        caller=caller,
        kind=EventKind.CONSUME if asks else EventKind.USAGE,
        id=happening.id,
        digest=event_digest(caller.license_id, b"", happening.id),
        fingerprint=ask_fingerprint(mode="consume", feature=None, value=None, usage=[usage], on_excess=None)
        if asks
        else usage_fingerprint(*usage),
        lines=[line],
        at=happening.occurred_at,
        occurred_given=not asks,
    )


def _happenings(crews: Sequence[Crew], until: datetime) -> Iterator[Happening]:
    first = until - timedelta(days=DAYS)
    for place, crew in enumerate(crews):
        chance = random.Random(f"{_SEED}/{crew.buyer.external_id}")  # noqa: S311 - made-up data, the same each time
        for number in range(DAYS + 1):
            midnight = (first + timedelta(days=number)).replace(hour=0, minute=0, second=0, microsecond=0)
            # Usage grows by a third over the month, and now and then a day is twice as busy.
            growth = 0.85 + 0.3 * number / DAYS
            burst = 2.2 if chance.random() < 0.06 else 1.0
            mean = TASKS_A_DAY * crew.buyer.weight * _WEEKDAYS[midnight.weekday()] * growth * burst
            for task in range(max(0, round(chance.gauss(mean, mean / 6)))):
                begin = midnight + timedelta(hours=chance.choices(range(24), _HOURS)[0], seconds=chance.randrange(3600))
                stem = f"{crew.buyer.external_id}-d{number}-t{task}"
                for happening in _task(place, crew, chance, stem, begin):
                    if first <= happening.occurred_at < until:
                        yield happening
        if crew.buyer.external_id == RUNAWAY[0]:
            yield from _runaway(place, first + timedelta(days=19, hours=3), chance)


def _task(place: int, crew: Crew, chance: random.Random, stem: str, begin: datetime) -> Iterator[Happening]:
    """One task of an orchestrator: its sub-agents call a model and tools for some minutes, then it is done."""
    lead, *helpers = crew.buyer.agents
    at = begin
    models = ("small",) if crew.buyer.plan == STARTER else ("small", "small", "large")
    for step in range(chance.randint(1, 3)):
        agent = chance.choice(helpers or [lead])
        tokens = Decimal(round(chance.lognormvariate(6.6, 0.7)))
        yield Happening(f"{stem}-s{step}", place, agent, "tokens", tokens, {"model": chance.choice(models)}, at)
        at += timedelta(seconds=chance.randint(2, 40))
        if chance.random() < 0.45:
            yield Happening(
                f"{stem}-c{step}", place, agent, "tool_calls", Decimal(1), {"tool": chance.choice(_TOOLS)}, at
            )
            at += timedelta(seconds=chance.randint(1, 15))
    status = "succeeded" if chance.random() < 0.93 else "failed"
    if status == "succeeded":
        yield Happening(f"{stem}-done", place, lead, "tasks", Decimal(1), {"status": status}, at)


def _runaway(place: int, begin: datetime, chance: random.Random) -> Iterator[Happening]:
    """A scraper that loops for an hour at night."""
    for number in range(1500):
        at = begin + timedelta(seconds=2.4 * number)
        tokens = Decimal(round(chance.lognormvariate(5.2, 0.3)))
        yield Happening(f"runaway-{number}", place, RUNAWAY[1], "tokens", tokens, {"model": "small"}, at)
