"""Budgets that a parent passes on: a child's quota is held against the parents' quotas that count the same usage."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from common.quantities import format_quantity
from metering.domain.enums import Period, Scope
from metering.domain.terms import QuotaTerms


class Budget(Protocol):
    """A quota that a child shall have."""

    @property
    def meter(self) -> Any: ...
    @property
    def period(self) -> Period: ...
    @property
    def rolling_seconds(self) -> int | None: ...
    @property
    def filter(self) -> Mapping[str, str]: ...
    @property
    def limit(self) -> Decimal: ...
    @property
    def ceiling(self) -> Decimal | None: ...


def budget_excess(budget: Budget, parents: Iterable[QuotaTerms], *, meter_id: UUID) -> str | None:
    """Why `budget` is more than the parents have, or None.

    Compared are the limits of quotas on agents with the same meter and period that count all that the budget counts
    (their filter is part of its filter), never what is left of them: a parent may share out its budget more than once,
    and usage counts on it all the same.
    """
    for quota in parents:
        if quota.scope is not Scope.AGENT or quota.meter_id != meter_id or quota.period != budget.period:
            continue
        if quota.rolling_seconds != budget.rolling_seconds:
            continue
        if not quota.filter.items() <= budget.filter.items():
            continue
        most = quota.limit if quota.blocks_above is None else quota.blocks_above
        if budget.limit > quota.limit or (budget.ceiling is not None and budget.ceiling > most):
            return f"The parent has {format_quantity(quota.limit)} of {quota.meter_code}."
    return None
