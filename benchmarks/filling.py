"""Years of others' use, written straight into the tables: agents beside an agent, events of a month with their ids."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from benchmarks.world import Shop

MONTH = timedelta(days=28)

# Ids come with the events, so that
# both tables and all their indexes are as large as they would be.
_EVENTS = """
WITH new AS (
    INSERT INTO metering_usageevent (id, tenant_id, customer_id, license_id, agent_id, agent_path, meter_id, client_id,
        quantity, dimensions, occurred_at, recorded_at, kind)
    SELECT gen_random_uuid(), %(tenant)s, agent.customer_id, agent.license_id, agent.id, ARRAY[agent.id], %(meter)s,
        'h' || number, number %% 1000, '{"model": "large"}',
        %(until)s - (number::numeric * %(seconds)s / %(events)s) * interval '1 second', %(until)s, 'usage'
    FROM generate_series(1, %(events)s) AS number
    JOIN (SELECT row_number() OVER (ORDER BY agent.id) AS place, agent.id, agent.license_id, license.customer_id
          FROM licenses_agent AS agent JOIN licenses_license AS license ON license.id = agent.license_id
          WHERE agent.tenant_id = %(tenant)s) AS agent ON agent.place = number %% %(agents)s + 1
    RETURNING id, occurred_at)
INSERT INTO metering_eventid (tenant_id, digest, fingerprint, kind, occurred_at, occurred_given, event_ids)
SELECT %(tenant)s, gen_random_uuid(), gen_random_uuid(), 'usage', occurred_at, true, ARRAY[id] FROM new
"""


def fill_events(shop: Shop, meter_id: Any, events: int, span: timedelta = MONTH) -> None:
    """So many events of all agents of this shop, spread evenly up to now, which no roll-up has seen yet."""
    from django.db import connection

    from metering.services.partitions import ensure_partitions

    until = datetime.now(UTC) - timedelta(minutes=1)
    ensure_partitions(until - span - timedelta(days=31), 3)
    with connection.cursor() as cursor:
        cursor.execute(
            _EVENTS,
            {
                "tenant": shop.tenant_id,
                "meter": meter_id,
                "until": until,
                "seconds": span.total_seconds(),
                "events": events,
                "agents": len(shop.agents),
            },
        )


def fill_agents(tenant_id: UUID, agent_id: UUID, number_of_them: int) -> None:
    """Put so many agents beside this one, on its licence."""
    from django.db import connection

    # All columns but these are those of the agent that is there.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns"
            " WHERE table_name = 'licenses_agent' AND is_generated = 'NEVER' AND column_name <> ALL(%s)",
            [["id", "name", "path", "external_id"]],
        )
        [columns] = cursor.fetchone()
        cursor.execute(
            f"INSERT INTO licenses_agent (id, name, path, {columns})"
            f" SELECT new.id, 'crowd-' || new.id, ARRAY[new.id], {columns} FROM licenses_agent AS agent,"
            " (SELECT gen_random_uuid() AS id FROM generate_series(1, %s)) AS new"
            " WHERE agent.id = %s AND agent.tenant_id = %s",
            [number_of_them, agent_id, tenant_id],
        )
        cursor.execute("ANALYZE licenses_agent")
