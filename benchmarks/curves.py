"""Lines that belong together: the same figure at growing sizes, each beside the smallest."""

from dataclasses import dataclass
from typing import Any

from benchmarks.report import line


@dataclass(slots=True)
class Curve:
    """`name` in `unit` over the number of `axis`; the first point is the baseline of all."""

    name: str
    unit: str
    axis: str
    first: tuple[int, float] | None = None

    def point(self, x: int, value: float, **more: Any) -> dict[str, Any]:
        """The line of one size."""
        self.first = self.first or (x, value)
        return line(
            f"{self.name}_at_{x}_{self.axis}",
            value,
            self.unit,
            f"with {self.first[0]:,} {self.axis}",
            self.first[1],
            curve=self.name,
            axis=self.axis,
            x=x,
            **more,
        )
