"""The summaries by which new events are found among old ones, made as soon as the events are rolled up.

An index of summaries (BRIN) knows nothing of pages that were filled lately: whoever asks it reads all of those. The
database summarises them when it next vacuums, which after an import may be long: until then each question about usage
would read the whole import.
"""

from typing import Final

from django.db import OperationalError, connection, transaction

from metering.services.cursors import read_by_index

_WRITTEN: Final = """
SELECT tableoid, (min(ctid)::text::point)[0]::bigint, (max(ctid)::text::point)[0]::bigint
FROM metering_usageevent WHERE xid >= %s AND xid < %s GROUP BY tableoid
"""

# Who may not do this to the table leaves it to whoever vacuums.
_SUMMARIZE: Final = """
SELECT coalesce(sum(brin_summarize_range(index.indexrelid, page)), 0)
FROM pg_index AS index
JOIN pg_class AS class ON class.oid = index.indexrelid AND pg_has_role(class.relowner, 'USAGE')
JOIN pg_am AS method ON method.oid = class.relam AND method.amname = 'brin'
CROSS JOIN generate_series(%(first)s::bigint / %(step)s * %(step)s, %(last)s::bigint, %(step)s::bigint) AS page
WHERE index.indrelid = %(table)s
"""
#: Pages of the smallest summary.
_STEP: Final = 16
# Somebody who vacuums the table summarises it as well.
_PATIENCE: Final = "SET LOCAL lock_timeout = '200ms'"


def summarize_events(start: int, end: int) -> int:
    """Make those summaries that are missing where transactions in [start, end) wrote events; how many were made."""
    made = 0
    with transaction.atomic(), connection.cursor() as cursor:
        read_by_index()
        cursor.execute(_WRITTEN, [start, end])
        written = cursor.fetchall()
    for table, first, last in written:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(_PATIENCE)
                cursor.execute(_SUMMARIZE, {"table": table, "first": first, "last": last, "step": _STEP})
                made += cursor.fetchone()[0]
        except OperationalError:
            continue
    return made
