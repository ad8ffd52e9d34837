"""The statement that answers usage queries on max, unique and latest meters: from raw events alone.

Such values do not add up, so roll-ups say nothing of them, and neither does the sum of an answer's rows: the last row,
without a bucket, is the value of the whole range.
"""

from typing import Final

from metering.domain.enums import Aggregation
from metering.selectors.usage_values import LIVE, VALUE

_STATEMENT: Final = """
SELECT width_bucket(occurred_at, %(starts)s::timestamptz[]) - 1 AS bucket, {{groups}} {result}
FROM metering_usageevent AS event
WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s
  AND occurred_at >= %(start)s AND occurred_at < %(end)s
  AND {live}
  {{narrowed}}
GROUP BY GROUPING SETS (({{positions}}), ()) ORDER BY {{positions}} LIMIT %(limit)s
"""

_RESULTS: Final = {
    Aggregation.MAX: "max(quantity)",
    Aggregation.UNIQUE: f"count(DISTINCT {VALUE})::numeric",
    Aggregation.LATEST: "(array_agg(quantity ORDER BY occurred_at DESC, id DESC))[1]",
}


def value_statement(aggregation: Aggregation) -> str:
    """A statement with places for `groups`, `narrowed` and `positions`, as that of meters that add up has.

    It asks for `value_from` beside the parameters of that one.
    """
    return _STATEMENT.format(result=_RESULTS[aggregation], live=LIVE)
