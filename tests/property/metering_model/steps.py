"""What steps are made of: quantities, terms and times that meet each other often."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.property.metering_model.things import AGENTS, UsageLine

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

agents = st.sampled_from(sorted(AGENTS))
picks = st.integers(0, 99)
quantities = st.sampled_from([Decimal(text) for text in ("0", "0.000000000001", "1", "2.5", "3", "7", "12", "40")])
limits = st.sampled_from([Decimal(text) for text in ("0", "3", "10", "10.5", "30", "100")])
dimensions = st.sampled_from([(), (("model", "large"),), (("model", "small"),)])
tokens = st.builds(UsageLine, st.just("tokens"), quantities, dimensions)
calls = st.builds(UsageLine, st.just("calls"), st.just(Decimal(1)), dimensions)
lines = st.one_of(tokens, tokens, calls)
asked = st.one_of(lines.map(lambda line: [line]), st.tuples(tokens, calls).map(list))
# Off the ten-minute grid on which the clock goes, so that nothing happens on the edge of a period or of a hold.
ages = st.sampled_from(
    [None, None, 3 * MINUTE, HOUR, 13 * HOUR, 2 * DAY, 5 * DAY, 33 * DAY, 36 * DAY, -2 * MINUTE, -HOUR]
)
ttls = st.sampled_from([330, 930, 3930, 90_330])
scopes = st.sampled_from(["agent", "license", "customer", "tenant"])
periods = st.sampled_from(["hour", "day", "week", "month", "year", "lifetime"])
filters = st.sampled_from([(), (), (("model", "large"),)])


def tiers(*rows: tuple[str | None, str, str]) -> list[dict[str, Any]]:
    return [{"up_to": up_to, "unit_price": each, "flat_fee": flat} for up_to, each, flat in rows]


prices = st.sampled_from(
    [
        {"model": "per_unit", "unit_price": "0.333333"},
        {"model": "per_unit", "unit_price": "0.005", "minimum": "1.00", "included_units": "2"},
        {"model": "per_unit", "unit_price": "3", "maximum": "20.01"},
        {"model": "package", "package_size": "5", "package_price": "1.25", "included_units": "1"},
        {"model": "graduated", "tiers": tiers(("2", "1", "0"), ("10", "0.5", "3"), (None, "0.125", "0"))},
        {"model": "volume", "tiers": tiers(("2", "1", "0"), ("10", "0.5", "3"), (None, "0.125", "0"))},
    ]
)
terms = st.fixed_dictionaries({"limit": limits, "price": st.one_of(st.none(), prices), "mode": st.just("soft")})
rates = st.sampled_from([Decimal(text) for text in ("0", "0.000000000001", "0.3", "1.5")])
cards = st.fixed_dictionaries({"large": rates, "all": st.one_of(st.none(), rates)})
