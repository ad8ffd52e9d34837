"""What is aimed at, by the name of a line: bounds on its ratio, or on its value where a ratio says nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on one field of a line: at least or at most so much."""

    bound: float
    at_most: bool = False
    field: str = "ratio"

    def text(self) -> str:
        """As in `≥ 0.8` or `value ≤ 0`."""
        sign = "≤" if self.at_most else "≥"
        return f"{'value ' if self.field == 'value' else ''}{sign} {self.bound:g}"

    def reached(self, line: Mapping[str, Any]) -> bool | None:
        """Whether the line keeps to it; None where it has no such figure."""
        figure = line.get(self.field)
        if figure is None:
            return None
        return bool(figure <= self.bound if self.at_most else figure >= self.bound)


def _least(bound: float) -> Goal:
    return Goal(bound)


def _most(bound: float) -> Goal:
    return Goal(bound, at_most=True)


#: Two cores, one run, PostgreSQL at default durability.
GOALS = {
    "validate_plain_vs_bare_django": _least(0.8),
    "validate_vs_bare_django": _least(0.5),
    "authorize_vs_bare_django": _least(0.35),
    "authorize_vs_diy_django": _least(20),
    "authorize_vs_diy_fastapi": _least(5),
    "ingest_batch_vs_copy": _least(0.55),
    "ingest_single_vs_one_transaction": _least(4),
    "import_vs_copy": _least(0.5),
    "hot_balance_vs_spread": _least(0.7),
    "hot_balance_used_vs_events": Goal(1, at_most=True),
    "rollup_vs_group_by": _most(3),
    "offline_verify_vs_ed25519": _least(0.5),
    "validate_plain_p99_vs_p50_at_70_percent": _most(5),
    "validate_p99_vs_p50_at_70_percent": _most(5),
    "authorize_p99_vs_p50_at_70_percent": _most(5),
    "ingest_priced_batch_of_four_levels_vs_copy": _least(0.45),
    "ingest_priced_batch_of_32_vs_copy": _least(0.15),
    "import_memory": Goal(300, at_most=True, field="value"),
    "validate_plain_through_views_vs_bare_django": _least(0.3),
    "authorize_through_views_vs_bare_django": _least(0.07),
    "authorize_batch_of_64_vs_singles": _least(10),
    "web_process_memory": _most(1),
    "idle_stack_memory": _most(1),
    "decide_license_per_second": _least(1),
    "decide_license_without_features_per_second": _least(1),
    "verify_ledger_1_jobs_vs_scan": _most(5),
    "verify_ledger_2_jobs_vs_scan": _most(5),
    "close_periods": _least(0.8),
    "acceptances_after_revoke_returned": Goal(0, at_most=True, field="value"),
    "tokens_not_listed_after_revoke_returned": Goal(0, at_most=True, field="value"),
    "validate_among_100000_agents": _most(1.2),
    "web_memory_after_a_million_requests": _most(1.05),
}
#: The same by the name of a curve: what its last point may differ from its first.
CURVE_GOALS = {
    "authorize_share": _least(1 / 1.2),
    "validate_share": _least(1 / 1.2),
    "rollup_seconds": _most(1.2),
}


def goal_of(line: Mapping[str, Any]) -> Goal | None:
    """The line's own goal, or its curve's."""
    return GOALS.get(str(line["bench"])) or CURVE_GOALS.get(str(line.get("curve")))
