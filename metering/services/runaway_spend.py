"""What agents spent within the last hour, by meter: roll-ups of quarters of an hour, plus what is not rolled up yet.

The hour begins with the first whole quarter in it, so between 45 and 60 minutes count: never more than an hour's spend.
An amount counts where it occurred, so history that is filled in later is nobody's present spend.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction

from metering.models import Meter
from metering.services.cursors import (
    cursor_name,
    ensure_cursor,
    horizon,
    move_cursor,
    read_by_index,
    read_cursor,
)
from metering.services.rollups import WORK as ROLL_UP
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of

WORK: Final = "runaway"
_HOUR: Final = timedelta(hours=1)
_QUARTER: Final = timedelta(minutes=15)
#: Longer ago than that, everything before the roll-up's watermark is too old to be looked for.
_GAP: Final = timedelta(minutes=10)

_ACTIVE = """
SELECT DISTINCT tenant_id, agent_id FROM metering_usageevent
WHERE xid >= %(start)s AND meter_id = ANY(%(meters)s) AND agent_id IS NOT NULL
"""

# One statement, so one snapshot: each event counts once, below the watermark in its bucket, from there on by itself.
_SPENT = """
WITH cursor AS MATERIALIZED (
    SELECT watermark FROM metering_rollupcursor WHERE name = %(cursor)s AND rolled_up_at IS NOT NULL
), source AS (
    SELECT agent_id, total AS quantity FROM metering_usagerollup
    WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s AND size = 'quarter' AND agent_id = ANY(%(agents)s)
      AND bucket_start >= %(start)s AND bucket_start <= %(now)s AND EXISTS (SELECT FROM cursor)
    UNION ALL
    SELECT agent_id, quantity FROM metering_usageevent
    WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s AND agent_id = ANY(%(agents)s)
      AND xid >= %(at_least)s AND xid >= coalesce((SELECT watermark FROM cursor), 0)
      AND occurred_at >= %(start)s AND occurred_at <= %(now)s
)
SELECT agent_id, sum(quantity) FROM source GROUP BY agent_id
"""


@dataclass(frozen=True, slots=True)
class Spend:
    """Who spent anything since the last look, and the meters that spend is limited on, by workspace and code.

    `upto` is the transaction id below which everything was looked at.
    """

    agents: Mapping[UUID, set[UUID]] = field(default_factory=dict)
    meters: Mapping[UUID, Mapping[str, UUID]] = field(default_factory=dict)
    upto: int | None = None

    def active(self, tenant: Tenant) -> set[UUID]:
        """The workspace's agents that spent anything since the last look."""
        return set(self.agents.get(tenant.pk, ()))

    def of_agents(self, tenant: Tenant, asked: Mapping[str, Collection[UUID]]) -> dict[UUID, dict[str, Decimal]]:
        """By agent, what it spent within the hour on each of the meters that `asked` names for it."""
        found: dict[UUID, dict[str, Decimal]] = {}
        now = clock_of(tenant).now()
        for code, agent_ids in asked.items():
            meter_id = self.meters.get(tenant.pk, {}).get(code)
            if meter_id is None:
                continue
            spent = _spent(tenant.pk, meter_id, agent_ids, now)
            for agent_id in agent_ids:
                found.setdefault(agent_id, {})[code] = spent.get(agent_id, Decimal(0))
        return found


def new_spend(limited: Mapping[Tenant, Collection[str]], *, now: datetime) -> Spend:
    """Look at the events since the last look, on the meters whose codes are given by workspace.

    Safe to run side by side, and to be killed: what was looked at is passed over only after `finish`.
    """
    meters = spend_on(limited).meters
    meter_ids = [meter_id for mine in meters.values() for meter_id in mine.values()]
    if not meter_ids:
        return Spend()
    upto, found = _active(meter_ids, now)
    agents: dict[UUID, set[UUID]] = {}
    for tenant_id, agent_id in found:
        agents.setdefault(tenant_id, set()).add(agent_id)
    return Spend(agents, meters, upto)


def spend_on(limited: Mapping[Tenant, Collection[str]]) -> Spend:
    """Spend on these meters, whoever spent it and whenever that was looked at."""
    meters: dict[UUID, dict[str, UUID]] = {}
    for tenant, codes in limited.items():
        if codes:
            mine = Meter.objects.for_tenant(tenant).filter(code__in=codes)
            meters[tenant.pk] = dict(mine.values_list("code", "pk"))
    return Spend(meters=meters)


def finish(spend: Spend, *, now: datetime) -> None:
    """All that `spend` found was acted on."""
    if spend.upto is not None:
        name = cursor_name(WORK)
        ensure_cursor(name)
        move_cursor(name, spend.upto, now)


def _active(meter_ids: list[UUID], now: datetime) -> tuple[int, list[tuple[UUID, UUID]]]:
    position, rolled_up = read_cursor(cursor_name(WORK)), read_cursor(cursor_name(ROLL_UP))
    start = rolled_up.watermark if rolled_up is not None else 0
    if position is not None and position.moved_at is not None and now - position.moved_at < _GAP:
        start = position.watermark
    with transaction.atomic(), connection.cursor() as cursor:
        # Before the events are read: what commits meanwhile is looked at the next time.
        upto = horizon()
        read_by_index()
        cursor.execute(_ACTIVE, {"start": start, "meters": meter_ids})
        found: list[tuple[UUID, UUID]] = cursor.fetchall()
    return upto, found


def _spent(tenant_id: UUID, meter_id: UUID, agent_ids: Collection[UUID], now: datetime) -> dict[UUID, Decimal]:
    rolled_up = read_cursor(cursor_name(ROLL_UP))
    since = now - _HOUR
    start = since + (datetime(1970, 1, 1, tzinfo=UTC) - since) % _QUARTER
    parameters: dict[str, Any] = {
        "cursor": cursor_name(ROLL_UP),
        "tenant": tenant_id,
        "meter": meter_id,
        "agents": list(agent_ids),
        "start": start,
        "now": now,
        # The watermark never goes down; known beforehand it shows the planner how few events are above it.
        "at_least": rolled_up.watermark if rolled_up is not None and rolled_up.moved_at is not None else 0,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        read_by_index()
        cursor.execute(_SPENT, parameters)
        return dict(cursor.fetchall())
