"""What balances of meters that do not add up know beside their value: read and written under the balances' locks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import connection

from metering.domain.balance_states import BalanceState
from metering.domain.counting import Observed, value_id, value_text
from metering.domain.enums import Aggregation
from metering.domain.requests import Line, Request
from metering.selectors.usage_values import BalanceScope, standing_of, values_of
from metering.services.array_literals import numbers, uuids

if TYPE_CHECKING:
    from metering.services.balances import BalanceSpec

_READ = "SELECT id, events FROM metering_balancevalue WHERE tenant_id = ANY(%s::uuid[]) AND id = ANY(%s::uuid[])"

_WRITE = """
INSERT INTO metering_balancevalue AS kept (id, tenant_id, balance_id, events)
SELECT id, tenant_id, balance_id, events
FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::bigint[]) AS new (id, tenant_id, balance_id, events)
ON CONFLICT (id) DO UPDATE SET events = kept.events + excluded.events
"""

_KEEP = _WRITE.replace("kept.events + excluded.events", "greatest(kept.events, excluded.events)")

_FORGET = "DELETE FROM metering_balancevalue WHERE tenant_id = %s AND balance_id = %s"


def read_values(
    requests: Sequence[Request], balances: Mapping[UUID, BalanceState], specs: Mapping[UUID, BalanceSpec]
) -> None:
    """Read into the locked balances what the batch's lines are to be held against."""
    asked: dict[UUID, UUID] = {}
    taken_back: dict[UUID, list[UUID]] = defaultdict(list)
    for line in _valued(requests):
        for target in line.targets:
            id = target.open if balances[target.own].closed else target.own
            balance, scope = balances[id], specs[id].scope_of(id)
            if balance.observed is None:
                balance.observed = Observed()
            if line.meter.aggregation is Aggregation.UNIQUE:
                asked[value_id(id, value_text(line))] = id
            elif line.corrects is not None:
                taken_back[id].append(line.corrects)
                balance.observed.without[line.corrects] = standing_of(scope, without=taken_back[id])
            elif _is_a_tie(balance, line):
                balance.observed.latest_id = standing_of(scope).event_id
    if not asked:
        return
    with connection.cursor() as cursor:
        cursor.execute(_READ, [uuids({specs[id].caller.tenant_id for id in asked.values()}), uuids(asked)])
        for id, events in cursor.fetchall():
            observed = balances[asked[id]].observed
            if observed is not None:
                observed.values[id] = events


def write_values(balances: Iterable[BalanceState], specs: Mapping[UUID, BalanceSpec]) -> None:
    """Write what the batch adds to the values that balances have seen."""
    rows = [
        (id, specs[balance.id].caller.tenant_id, balance.id, change)
        for balance in balances
        if balance.observed is not None
        for id, change in balance.observed.noted.items()
        if change
    ]
    _add(rows)


def seed_values(balance: BalanceScope, *, keep: bool = False) -> None:
    """Let a unique meter's balance know the values that its period's events carry, in place of what it knew.

    With `keep` what it knew stays: it has seen months whose events are gone.
    """
    rows = [(id, balance.tenant_id, balance.id, events) for id, events in values_of(balance).items()]
    if keep:
        _add(rows, _KEEP)
        return
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, [balance.tenant_id, balance.id])
    _add(rows)


def _add(rows: Sequence[tuple[UUID, UUID, UUID, int]], statement: str = _WRITE) -> None:
    if not rows:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            statement,
            [
                uuids(id for id, _, _, _ in rows),
                uuids(tenant_id for _, tenant_id, _, _ in rows),
                uuids(balance_id for _, _, balance_id, _ in rows),
                numbers(events for _, _, _, events in rows),
            ],
        )


def _valued(requests: Iterable[Request]) -> Iterator[Line]:
    """The lines of meters that do not add up; a hold has none."""
    for request in requests:
        for line in request.counting:
            if line.meter.rules is not None and not line.meter.aggregation.adds_up:
                yield line


def _is_a_tie(balance: BalanceState, line: Line) -> bool:
    return line.meter.aggregation is Aggregation.LATEST and line.occurred_at == balance.latest_at
