"""How events add up into buckets of a quarter of an hour and of a UTC day: for roll-ups, and for their proof."""

# Dimensions are grouped by text: equal numbers of jsonb may be written differently.
_QUARTERS = """
quarters AS MATERIALIZED (
    SELECT tenant_id, date_bin('15 minutes', occurred_at, 'epoch'::timestamptz) AS bucket_start, meter_id,
           customer_id, license_id, agent_id, dimensions::text AS dimensions,
           sum(quantity) AS total, count(*) AS events
    FROM metering_usageevent WHERE {which}
    GROUP BY 1, 2, 3, 4, 5, 6, 7
)
"""

# The id begins with the bucket's time, so that new buckets lie together in the index; the rest is a digest of what
# the bucket is for.
BUCKETS_OF_QUARTERS = """
sized AS (
    SELECT 'quarter' AS size, tenant_id, bucket_start, meter_id, customer_id, license_id, agent_id, dimensions,
           total, events
    FROM quarters
    UNION ALL
    SELECT 'day', tenant_id, date_bin('1 day', bucket_start, 'epoch'::timestamptz), meter_id,
           customer_id, license_id, agent_id, dimensions, sum(total), sum(events)
    FROM quarters GROUP BY 2, 3, 4, 5, 6, 7, 8
), buckets AS (
    SELECT (lpad(to_hex(greatest(extract(epoch FROM bucket_start), 0)::bigint), 12, '0')
            || left(encode(sha256(convert_to(concat_ws('|', tenant_id, size, extract(epoch FROM bucket_start)::bigint,
                meter_id, customer_id, license_id, coalesce(agent_id::text, ''), dimensions), 'UTF8')), 'hex'), 20)
           )::uuid AS id, sized.*
    FROM sized
)
"""
"""Common table expressions that make `buckets`, with their ids, of the quarters of an hour in `quarters`."""


def buckets_of(which: str) -> str:
    """Common table expressions, the last of which is `buckets`, over the events that the condition `which` names."""
    return f"{_QUARTERS.format(which=which).rstrip()}, {BUCKETS_OF_QUARTERS.lstrip()}"
