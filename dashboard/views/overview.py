"""The overview: what matters today."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.http import HttpRequest, HttpResponse

from common.quantities import format_quantity
from dashboard import shown
from dashboard.access import Workspace, workspace_page
from dashboard.frame import render_page
from dashboard.selectors.agents import agents_at_work, count_agents
from dashboard.selectors.licenses import count_licenses, ending_next
from dashboard.selectors.usage import MeterUsage, shown_meters, usage_of
from dashboard.snippets import snippets
from metering.domain.enums import OverageStatus
from metering.models import Meter
from metering.selectors.overages import list_overages, overage_so_far

ROWS = 8
#: What "show all" of the overage stops at; beyond it the vendors' API lists them.
ALL_ROWS = 500
SPARK_DAYS = 14


@workspace_page()
def overview(request: HttpRequest, workspace: Workspace) -> HttpResponse:
    """Usage by day, overage so far, licences, agents."""
    meters = shown_meters(workspace)
    meter = _chosen(meters, request.GET.get("meter", ""))
    usage = usage_of(workspace, meter) if meter else None
    opened = list_overages(workspace.tenant, status=OverageStatus.OPEN)
    overages = opened.order_by("currency", "-amount", "-quantity", "id")
    context = {
        **snippets(),
        "at": "overview",
        "meters": meters,
        "meter": meter,
        "usage": usage,
        "chart": chart_data(usage, workspace) if usage else None,
        "usage_tiles": _usage_tiles(usage) if usage else None,
        "agents": agents_at_work(workspace, meter, limit=ROWS),
        "agent_counts": count_agents(workspace),
        "licenses": ending_next(workspace, limit=ROWS),
        "license_counts": count_licenses(workspace),
        "overage_sums": [(shown.money(sum_, code)) for code, sum_ in overage_so_far(workspace.tenant).items()],
        "overages": overages[: ALL_ROWS if request.GET.get("overage") == "all" else ROWS],
        "overage_count": overages.count(),
        "zero": shown.money(Decimal(0), workspace.tenant.currency),
    }
    return render_page(request, workspace, "dashboard/overview.html", context)


def chart_data(usage: MeterUsage, workspace: Workspace) -> dict[str, Any]:
    """What the chart draws: numbers as text, since a float would round them."""
    return {
        "meter": usage.meter.name,
        "days": [
            {
                "label": f"{each.day.day} {each.day:%b}",
                "title": f"{each.day:%A} {each.day.day} {each.day:%B %Y}, {workspace.tenant.timezone}",
                "value": format_quantity(each.value),
                "text": f"{shown.quantity(each.value)} {shown.units(usage.meter.unit, each.value)}",
            }
            for each in usage.days
        ],
    }


def _usage_tiles(usage: MeterUsage) -> dict[str, str]:
    return {
        "today": shown.compact(usage.today.value),
        "today_change": shown.change(usage.today.value, usage.today.before, than="yesterday by this time"),
        "month": shown.compact(usage.month.value),
        "month_change": shown.change(usage.month.value, usage.month.before, than="last month by this day"),
        "spark": sparkline([each.value for each in usage.days[-SPARK_DAYS:]]),
        "total": f"{shown.compact(usage.total)} {shown.units(usage.meter.unit, usage.total)}",
        "today_unit": shown.units(usage.meter.unit, usage.today.value),
        "month_unit": shown.units(usage.meter.unit, usage.month.value),
    }


def sparkline(values: list[Decimal]) -> str:
    """The points of a polyline in a box of 100 by 28, the largest value at the top."""
    top = max(values) or Decimal(1)
    step = 100 / (len(values) - 1)
    return " ".join(f"{index * step:.1f},{27 - 26 * float(value / top):.1f}" for index, value in enumerate(values))


def _chosen(meters: list[Meter], code: str) -> Meter | None:
    by_code = {each.code: each for each in meters}
    return by_code.get(code) or (meters[0] if meters else None)
