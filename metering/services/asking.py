"""Whether there is room for what is asked, without a lock and without writing: what `check` answers."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from metering.domain.balance_states import BalanceState
from metering.domain.counting import Observed, asked, value_id, value_text
from metering.domain.dimensions import matches
from metering.domain.enums import Aggregation
from metering.domain.numbers import EXACT
from metering.domain.requests import Line
from metering.domain.terms import Caller
from metering.models import Balance, BalanceValue
from metering.selectors.quota_statuses import QuotaStatus
from metering.selectors.usage_values import BalanceScope, standing_of, values_of
from metering.services.lines import CountedLine

#: Sorts behind every event that there is.
_NEWEST = UUID(int=(1 << 128) - 1)


def full_quotas(
    caller: Caller, lines: Sequence[CountedLine], statuses: Sequence[QuotaStatus], at: datetime
) -> list[tuple[QuotaStatus, Decimal]]:
    """The quotas without room for the lines, and what these come to: as the ledger decides, by the same arithmetic."""
    full = []
    for status in statuses:
        quota = status.quota
        most = quota.blocks_above
        if most is None:
            continue
        concerned = [
            line for line in lines if line.meter.id == quota.meter_id and matches(quota.filter, line.dimensions)
        ]
        if not concerned:
            continue
        asking = [Line(line.meter, line.quantity, line.dimensions, line.at, _NEWEST) for line in concerned]
        quantity = asked(_state(caller, status, asking, at), asking)
        if EXACT.add(EXACT.add(status.used, status.held), quantity) > EXACT.add(most, status.standing.extra):
            full.append((status, quantity))
    return full


def _state(caller: Caller, status: QuotaStatus, lines: Sequence[Line], at: datetime) -> BalanceState:
    """The balance as it stands; what unique and latest meters ask for these lines beside the value is read."""
    quota = status.quota
    window = quota.window(at, caller.timezone)
    state = BalanceState(quota.balance_id(window), status.used, status.held, False, set())
    if quota.aggregation not in (Aggregation.UNIQUE, Aggregation.LATEST):
        return state
    scope = BalanceScope.of(quota, state.id, tenant_id=caller.tenant_id, license_id=caller.license_id, window=window)
    kept = Balance.objects.for_tenant(caller.tenant_id).filter(id=state.id, detached_at__isnull=True).first()
    if quota.aggregation is Aggregation.LATEST:
        state.latest_at = standing_of(scope).at if kept is None else kept.latest_at
    elif kept is None:
        state.observed = Observed(values_of(scope))
    else:
        # A balance may have seen millions of values.
        ids = {value_id(state.id, value_text(line)) for line in lines}
        values = BalanceValue.objects.for_tenant(caller.tenant_id).filter(id__in=ids)
        state.observed = Observed(dict(values.values_list("id", "events")))
    return state
