"""The proof of the ledger beside a sequential scan with the same aggregates; and the end of many subjects' periods."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from benchmarks.report import line
from benchmarks.stack import BenchStack
from benchmarks.world import METER, THREE_LEVELS, Shop, make_shop

EVENTS = 1_000_000
AGENTS = 100
SUBJECTS = 10_000
JOBS = 2
ROUNDS = 1

# As the ledger leaves them: events of many agents over a month, their ids, and what balances come to.
_EVENTS = """
INSERT INTO metering_usageevent (id, tenant_id, customer_id, license_id, agent_id, agent_path, meter_id, client_id,
                                 quantity, dimensions, occurred_at, recorded_at, kind)
SELECT gen_random_uuid(), agent.tenant_id, license.customer_id, license.id, agent.id, agent.path, %(meter)s,
       'event-' || number, 3, CASE number %% 2 WHEN 0 THEN '{"model": "large"}' ELSE '{"model": "small"}' END::jsonb,
       %(start)s + number * %(step)s, %(start)s + number * %(step)s, 'usage'
FROM generate_series(0, %(events)s - 1) AS number
JOIN (SELECT *, row_number() OVER (ORDER BY id) - 1 AS place FROM licenses_agent WHERE tenant_id = %(tenant)s) AS agent
  ON agent.place = number %% %(agents)s
JOIN licenses_license AS license ON license.id = agent.license_id
"""
_COUNT = """
UPDATE metering_balance AS balance SET used = counted.quantity
FROM (SELECT subject_id, sum(quantity) AS quantity FROM metering_usageevent
      CROSS JOIN LATERAL unnest(agent_path || license_id || customer_id) AS subject (subject_id)
      WHERE tenant_id = %(tenant)s GROUP BY 1) AS counted
WHERE balance.tenant_id = %(tenant)s AND balance.subject_id = counted.subject_id
"""
# One pass over the events that computes what the proof compares: sums by subject of each level, by bucket and
# dimensions, and a digest of every id.
_SCAN = """
SELECT count(*) FROM (
    SELECT license_id, customer_id, agent_path, meter_id, dimensions::text,
           date_bin('15 minutes', occurred_at, 'epoch'::timestamptz), sum(quantity), count(*), min(id::text)
    FROM metering_usageevent WHERE tenant_id = %(tenant)s
    GROUP BY GROUPING SETS ((license_id, meter_id), (customer_id, meter_id), (agent_path, meter_id), (meter_id),
                            (license_id, customer_id, agent_path, meter_id, dimensions::text,
                             date_bin('15 minutes', occurred_at, 'epoch'::timestamptz)))
) AS summed
"""


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """`verify_ledger` over a million events; closing the month of ten thousand licences, broken off half-way once."""
    stack.django()
    yield from _proof()
    yield from _closing()


def _proof() -> Iterator[dict[str, Any]]:
    from django.db import connection

    from metering.services.rollups import roll_up_usage
    from metering.services.verification import verify_ledger
    from tenants.models import Tenant

    shop = make_shop(agents=AGENTS, licenses=AGENTS, levels=THREE_LEVELS)
    start = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    _make_events(shop, start)
    while roll_up_usage().busy:
        time.sleep(1)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    tenant = Tenant.objects.get(pk=shop.tenant_id)

    def scan() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET max_parallel_workers_per_gather = 0")
            cursor.execute(_SCAN, {"tenant": shop.tenant_id})
            cursor.execute("RESET max_parallel_workers_per_gather")

    for jobs in (1, JOBS):
        scans, proofs = [], []
        for _ in range(ROUNDS):
            scans.append(_timed(scan))
            begun = time.perf_counter()
            proof = verify_ledger(tenant=tenant, jobs=jobs)
            proofs.append(time.perf_counter() - begun)
            if proof.differences or proof.events != EVENTS:
                raise RuntimeError(f"not proven: {proof.summary} {proof.differences[:1]}")
        yield line(
            f"verify_ledger_{jobs}_jobs_vs_scan",
            min(proofs),
            f"s for {EVENTS} events",
            "one sequential scan with the same aggregates, on one connection",
            min(scans),
        )


def _make_events(shop: Shop, start: datetime) -> None:
    """A million events, registered and counted on the balances of three levels."""
    from django.db import connection, transaction

    from metering.domain.quota_keys import EventDigests
    from metering.models import Meter

    meter = Meter.objects.get(tenant_id=shop.tenant_id, code=METER)
    step = (datetime.now(UTC) - start) / EVENTS
    asked = {
        "tenant": shop.tenant_id,
        "meter": meter.id,
        "start": start,
        "step": step,
        "events": EVENTS - AGENTS,
        "agents": AGENTS,
    }
    _use_once(shop)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_EVENTS, asked)
        cursor.execute(_COUNT, asked)
        cursor.execute(
            "SELECT id, license_id, client_id, occurred_at FROM metering_usageevent"
            " WHERE tenant_id = %(tenant)s AND client_id <> 'first'",
            asked,
        )
        rows = cursor.fetchall()
        digests: dict[UUID, EventDigests] = {}
        with cursor.copy(
            "COPY metering_eventid (tenant_id, digest, fingerprint, kind, occurred_at, occurred_given, event_ids)"
            " FROM STDIN"
        ) as sink:
            for id, license_id, client_id, at in rows:
                digest = digests.setdefault(license_id, EventDigests(license_id)).of(client_id)
                sink.write(f"{shop.tenant_id}\t{digest}\t{id}\tusage\t{at.isoformat()}\tt\t{{{id}}}\n")


def _use_once(shop: Shop) -> None:
    """One event of each agent, so that all balances are there."""
    import json

    import msgspec

    from agent_api.use_cases.known_callers import Credentials
    from agent_api.use_cases.recording import RecordCommand, record_many
    from agent_api.wire.usage import read_usage

    for key in shop.keys:
        raw = msgspec.json.encode({"events": [{"id": "first", "meter": METER, "quantity": "1"}]})
        [answer] = record_many([RecordCommand(Credentials(key), read_usage(raw))])
        if answer.body.recorded != 1:
            raise RuntimeError(f"not recorded: {json.dumps(str(answer))}")


def _closing() -> Iterator[dict[str, Any]]:
    """Half of the subjects, then all of them: the rate stays. The second run is broken off half-way, and goes on."""
    from metering.services.closing import close_periods
    from tenants.models import Tenant

    rates = []
    for subjects in (SUBJECTS // 2, SUBJECTS):
        tenant_id, end = _ended_month(subjects)
        tenant = Tenant.objects.get(pk=tenant_id)
        closed = [0]

        def close(
            tenant: Tenant = tenant, end: datetime = end, closed: list[int] = closed, most: int = subjects
        ) -> None:
            def on_progress(so_far: Any) -> None:
                if not closed[0] and so_far.balances >= most // 2:
                    closed[0] = so_far.balances
                    raise InterruptedError

            try:
                close_periods(before=end, tenant=tenant, on_progress=on_progress)
            except InterruptedError:
                closed[0] += close_periods(before=end, tenant=tenant).balances

        seconds = _timed(close)
        if closed[0] != subjects:
            raise RuntimeError(f"{closed[0]} of {subjects} periods are closed")
        rates.append(subjects / seconds)
    yield line(
        "close_periods",
        rates[1],
        f"subjects/s for {SUBJECTS}, each with a bill, broken off half-way and gone on with",
        f"the rate for {SUBJECTS // 2}: 1 is linear",
        rates[0],
    )


def _ended_month(subjects: int) -> tuple[UUID, datetime]:
    """So many licences with a month's usage above their limit, at a price."""
    from common.ids import new_id
    from licenses.models import License, LicensePlan, Plan
    from metering.domain.quota_keys import balance_id
    from metering.models import Balance, Meter, Price, Quota
    from tenants.models import Customer

    shop = make_shop(levels=("license",), limit="10", mode="soft")
    plan = Plan.objects.get(tenant_id=shop.tenant_id, code="pro")
    meter = Meter.objects.get(tenant_id=shop.tenant_id, code=METER)
    quota = Quota.objects.get(tenant_id=shop.tenant_id)
    Price.objects.create(
        tenant_id=shop.tenant_id, plan=plan, meter=meter, currency="USD", model="per_unit", unit_price="0.5"
    )
    end = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    start = (end - timedelta(days=1)).replace(day=1)
    customer = Customer.objects.filter(tenant_id=shop.tenant_id)[0]
    licenses = [
        License(id=new_id(), tenant_id=shop.tenant_id, customer=customer, starts_at=start) for _ in range(subjects)
    ]
    License.objects.bulk_create(licenses, batch_size=2000)
    LicensePlan.objects.bulk_create(
        [LicensePlan(tenant_id=shop.tenant_id, license=each, plan=plan, role="base") for each in licenses],
        batch_size=2000,
    )
    Balance.objects.bulk_create(
        [
            Balance(
                id=balance_id(quota.key, each.id, start),
                tenant_id=shop.tenant_id,
                quota_key=quota.key,
                scope="license",
                subject_id=each.id,
                meter=meter,
                plan_id=plan.id,
                customer_id=customer.id,
                license_id=each.id,
                filter={},
                period="month",
                period_start=start,
                period_end=end,
                used=25,
                # Its events are not kept any more, so that only what closing does is measured.
                base=25,
            )
            for each in licenses
        ],
        batch_size=2000,
    )
    return shop.tenant_id, end


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
