"""The ledger under many threads, each with a connection of its own: exact at every level, in any interleaving."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction

from common.epochs import EpochKey
from metering.domain.enums import EventKind, OnExcess
from metering.domain.requests import Request, Verdict
from metering.models import Balance, EventId, Quota, UsageEvent
from metering.services.holds import HoldBook
from metering.services.ledger import StaleCallers, post
from tenants.services.epochs import bump_epochs
from tenants.services.locks import lock_configuration
from tests.metering.ledger_world import NOW, make_world

pytestmark = pytest.mark.django_db(transaction=True)


def in_threads(jobs: list[Callable[[], object]], threads: int = 16) -> list[object]:
    def run(job: Callable[[], object]) -> object:
        try:
            return job()
        finally:
            connection.close()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, jobs))


def ask(request: Request) -> Verdict | None:
    if request.kind is EventKind.HOLD:
        book = HoldBook({request.hold_id: (NOW + timedelta(minutes=5), OnExcess.COUNT)})
        return post([request], companion=book).requests[0].verdict
    return post([request]).requests[0].verdict


def test_ids__sent_many_times_by_many_threads__count_once():
    world = make_world()
    quota = world.quota("1", mode="soft")
    caller = world.caller()
    ids = [f"call-{number}" for number in range(200)] * 5
    random.Random(7).shuffle(ids)
    batches = [
        [world.request("1", id=id, caller=caller, occurred_at=NOW) for id in ids[start : start + 25]]
        for start in range(0, len(ids), 25)
    ]
    in_threads([lambda batch=batch: post(batch) for batch in batches])
    verdicts = [request.verdict for batch in batches for request in batch]
    assert verdicts.count(Verdict.DONE) == 200
    assert verdicts.count(Verdict.REPLAYED) == 800
    assert world.used(quota) == UsageEvent.objects.count() == EventId.objects.count() == 200


def test_ids__without_any_quota_to_lock__count_once():
    world = make_world()
    caller = world.caller()
    requests = [world.request("1", id=f"call-{number % 20}", caller=caller, occurred_at=NOW) for number in range(200)]
    in_threads([lambda request=request: post([request]) for request in requests])
    assert [request.verdict for request in requests].count(Verdict.DONE) == 20
    assert UsageEvent.objects.count() == 20


@pytest.mark.parametrize("size", [40, 60])
def test_ids__in_batches_that_overlap_without_any_quota_to_lock__count_once(size):
    """Small batches insert ids and large ones copy them: whoever is second waits, and then sees them."""
    world = make_world()
    caller = world.caller()
    starts = [*range(0, 240, 20)] * 2
    batches = [
        [world.request("1", id=f"call-{start + each}", caller=caller, occurred_at=NOW) for each in range(size)]
        for start in starts
    ]
    for batch in batches:
        random.Random(len(batch)).shuffle(batch)
    in_threads([lambda batch=batch: post(batch) for batch in batches])
    verdicts = [request.verdict for batch in batches for request in batch]
    assert verdicts.count(Verdict.DONE) == UsageEvent.objects.count() == EventId.objects.count() == 220 + size
    assert verdicts.count(Verdict.REPLAYED) == len(verdicts) - (220 + size)


def test_consume__200_at_once_on_a_hard_quota_of_50__allows_exactly_50():
    world = make_world()
    quota = world.quota("50")
    caller = world.caller()
    verdicts = in_threads([lambda: ask(world.request("1", caller=caller, kind=EventKind.CONSUME)) for _ in range(200)])
    assert verdicts.count(Verdict.DONE) == 50
    assert verdicts.count(Verdict.REFUSED) == 150
    assert world.used(quota) == 50


def test_consume__two_levels_and_holds_between__is_exact_at_both():
    world = make_world(agents=3)
    quotas = [world.quota("10", on="agent", agent=agent) for agent in world.agents[:1]]
    shared = world.quota("25")
    callers = [world.caller(agent) for agent in world.agents]
    kinds = [EventKind.CONSUME, EventKind.HOLD]
    jobs = [
        lambda number=number: (
            number % 3,
            ask(world.request("1", caller=callers[number % 3], kind=kinds[number // 3 % 2])),
        )
        for number in range(150)
    ]
    answers = in_threads(jobs)
    granted = [place for place, verdict in answers if verdict is Verdict.DONE]
    assert len(granted) == 25
    assert granted.count(0) <= 10
    total = Balance.objects.get(quota_key=shared.key)
    assert total.used + total.held == 25
    own = Balance.objects.get(quota_key=quotas[0].key)
    assert own.used + own.held == granted.count(0)


def test_quota__made_in_the_middle_of_a_load__misses_no_event():
    world = make_world()
    made: list[Quota] = []
    stop = threading.Event()

    def load() -> int:
        sent = 0
        caller = world.caller()
        while not stop.is_set() or sent < 20:
            try:
                post([world.request("1", caller=caller)])
                sent += 1
            except StaleCallers:
                caller = world.caller()
        return sent

    def make() -> int:
        with transaction.atomic():
            lock_configuration(world.tenant.id)
            made.append(world.quota("5", mode="soft"))
            bump_epochs(world.tenant.id, EpochKey("license", world.license.id))
        threading.Event().wait(0.5)
        stop.set()
        return 0

    sent = sum(in_threads([load, load, load, load, make], threads=5))
    assert world.used(made[0]) == sent == UsageEvent.objects.count()


def test_batches__over_the_same_balances_in_any_order__never_deadlock():
    world = make_world(agents=4)
    for agent in world.agents:
        world.quota("1", on="agent", agent=agent, mode="soft")
    shared = world.quota("1", mode="soft")
    callers = [world.caller(agent) for agent in world.agents]
    chance = random.Random(3)

    def job() -> None:
        mixed = [world.request("1", caller=caller) for caller in callers for _ in range(5)]
        chance.shuffle(mixed)
        post(mixed)

    in_threads([job for _ in range(40)])
    assert world.used(shared) == Decimal(40 * 20)
