"""One balance that every agent counts on, beside a balance for each."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

from benchmarks.cases.doors import AGENTS, CONSUME
from benchmarks.load import Question
from benchmarks.measuring import side_by_side
from benchmarks.report import line
from benchmarks.stack import BenchStack
from benchmarks.world import make_shop


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """authorize with consume, 64 clients; and what the shared balance says afterwards beside its events."""
    stack.django()
    hot, spread = make_shop(agents=AGENTS, levels=("license",)), make_shop(agents=AGENTS, levels=("agent",))
    url = f"{stack.base_url}/agent/v1/authorize"
    shared, separate = side_by_side(Question(url, CONSUME, hot.keys), Question(url, CONSUME, spread.keys))
    yield line("hot_balance_vs_spread", shared, "requests/s", "64 agents with a balance each", separate)
    used, events = _counted(hot.tenant_id)
    yield line("hot_balance_used_vs_events", float(used), "units on the balance", "units of its events", float(events))


def _counted(tenant_id: UUID) -> tuple[Decimal, Decimal]:
    from django.db.models import Sum

    from metering.models import Balance, UsageEvent

    used = Balance.objects.filter(tenant_id=tenant_id).aggregate(sum=Sum("used"))["sum"]
    events = UsageEvent.objects.filter(tenant_id=tenant_id).aggregate(sum=Sum("quantity"))["sum"]
    return used, events
